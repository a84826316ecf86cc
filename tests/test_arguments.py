"""Every argument that a docstring offers can be given."""
import inspect
import re

import pytest
import torch

from micronet_mm import layers, models

IMAGE, FEATURES = torch.rand(2, 3, 64, 64), torch.rand(2, 16, 8, 8)
NORM, NO_INIT, SHIFT_MAX = dict(type='GN', num_groups=1), dict(type='Constant', layer='Linear', val=0.1), dict(
    J=3, K=1, shift='paper', init=((1, 0.5), (0, 0.5)), spatial=True)
BLOCK = dict(kernel_size=5, stride=2, expansion=(1, 2), groups2=(2, 4), dynamic=(True, False, True), reduction=4,
             shift_max=SHIFT_MAX, norm_cfg=NORM, init_cfg=NO_INIT)
# Class -> what it needs, other values than its defaults, and an input.
ARGUMENTS = {
    'MicroNet': (dict(), dict(
        arch='m0', in_channels=3, out_indices=2, output_stride=16, frozen_stages=1, norm_cfg=NORM, norm_eval=True,
        with_cp=True, J=3, K=1, shift='paper', dynamic=(True, True, False), coefficients='static', spatial=True,
        width=0.5, group_scale=2, groups=2, lite='nowhere', last_channels=64, init_cfg=NO_INIT), IMAGE),
    'MicroNetClassifier': (dict(in_channels=16, hidden_channels=8), dict(
        num_classes=5, dropout=0.5, init_cfg=NO_INIT), FEATURES),
    'MicroStem': (dict(in_channels=3, widths=(2, 4)), dict(norm_cfg=NORM, init_cfg=NO_INIT), IMAGE),
    'MicroBlockA': (dict(in_channels=16, out_channels=16), dict(groups1=(None, 8), **BLOCK), FEATURES),
    'MicroBlockB': (dict(in_channels=16, out_channels=16), dict(groups1=(2, 4), **BLOCK), FEATURES),
    'MicroBlockE': (dict(in_channels=16, out_channels=32), dict(
        groups1=(2, 4), dynamic=(False, False, False), reduction=4, shift_max=SHIFT_MAX, norm_cfg=NORM,
        init_cfg=NO_INIT), FEATURES),
    'MicroHeatmapHead': (dict(in_channels=16, out_channels=3, widths=(8, 8, 8)), dict(
        strides=(8, 8, 4), kernel_sizes=(3, 3, 3), expansions=((2, 2), ) * 3, ratios=(1, 1, 2),
        dynamic=(False, True, False), spatial=False, shift_max=SHIFT_MAX, norm_cfg=NORM, in_stride=8,
        loss=dict(type='KeypointMSELoss'), final_layer=dict(kernel_size=3, padding=1),
        decoder=dict(type='MSRAHeatmap', input_size=(32, 32), heatmap_size=(8, 8), sigma=2), init_cfg=NO_INIT),
        (FEATURES, )),
    'InvertedResidualHeatmapHead': (dict(in_channels=16, out_channels=3, widths=(8, 8, 8)), dict(
        strides=(8, 8, 4), kernel_size=5, expansion=2, norm_cfg=NORM, in_stride=8, init_cfg=NO_INIT), (FEATURES, )),
    'MicroPAFPN': (dict(in_channels=(16, 16), out_channels=8, block=dict(type='MicroBlockA'), expansions=[(1, 1)] * 2),
                   dict(norm_cfg=NORM, init_cfg=NO_INIT), (FEATURES, FEATURES[..., :4, :4])),
    'MicroDetHead': (dict(
        num_classes=3, in_channels=16, feat_channels=8, block=dict(type='MicroBlockA'), anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=5, scales_per_octave=1, strides=[8])),
        dict(stacked_convs=1, norm_cfg=NORM, init_cfg=NO_INIT, reg_max=3), (FEATURES, )),
    'SeparableBlock': (dict(in_channels=16, out_channels=8), dict(
        kernel_size=5, stride=2, expansion=(1, 2), norm_cfg=NORM, act_cfg=dict(type='ReLU')), FEATURES),
    'MicroNetClsHead': (dict(in_channels=16, hidden_channels=8), dict(
        num_classes=5, dropout=0.5, loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1), topk=1, cal_acc=True,
        init_cfg=NO_INIT), (FEATURES, )),
    'MobileNetV2Narrow': (dict(), dict(width=0.1, depth=0.5, last_channels=64, divisor=8), IMAGE),
    'MobileNetV3Small': (dict(), dict(width=0.5, divisor=4, output_stride=16), IMAGE),
    'DynamicShiftMax': (dict(channels=16), dict(
        groups=8, J=3, K=1, reduction=2, shift='paper', init=((1, 0.5), (0, 0.5)), spatial=True, init_cfg=NO_INIT),
        FEATURES),
    'StaticShiftMax': (dict(channels=16), dict(
        groups=8, J=3, K=1, shift='paper', init=((1, 0.5), (0, 0.5)), spatial=True, init_cfg=NO_INIT), FEATURES),
    'MicroFactorizedDepthwiseConv': (dict(in_channels=16), dict(
        expansion=(2, 3), kernel_size=5, stride=2, norm_cfg=NORM, init_cfg=NO_INIT), FEATURES),
    'MicroFactorizedPointwiseConv': (dict(in_channels=16), dict(
        out_channels=8, reduction=2, groups=2, norm_cfg=NORM, init_cfg=NO_INIT), FEATURES),
    'ConvNorm': (dict(in_channels=16, out_channels=8, kernel_size=(3, 1)), dict(
        stride=(2, 1), padding=(1, 0), groups=4, conv_cfg=dict(type='Conv2d'), norm_cfg=None), FEATURES),
    'ChannelRoll': (dict(groups=4), dict(steps=2, shift='paper'), FEATURES),
}
HOSTS = dict(MicroDetHead='mmdet', MicroHeatmapHead='mmpose', InvertedResidualHeatmapHead='mmpose',
             MicroNetClsHead='mmpretrain', MobileNetV2Narrow='mmpretrain', MobileNetV3Small='mmpretrain')
CASES = [(name, argument) for name, (_, offered, _) in ARGUMENTS.items() for argument in (*offered, 'all of them')]


@pytest.mark.parametrize(('name', 'argument'), CASES, ids=lambda value: value)
def test_an_argument_can_be_given(name, argument):
    pytest.importorskip(HOSTS.get(name, 'torch'))
    kind = getattr(models, name, None) or getattr(layers, name)
    needed, offered, x = ARGUMENTS[name]
    wanted = offered if argument == 'all of them' else {argument: offered[argument]}
    module = kind(**{**needed, **wanted})
    if hasattr(module, 'init_weights'):
        module.init_weights()
    assert module(x) is not None


@pytest.mark.parametrize('name', ARGUMENTS)
def test_the_table_has_every_argument_of_the_docstring(name):
    pytest.importorskip(HOSTS.get(name, 'torch'))
    kind = getattr(models, name, None) or getattr(layers, name)
    text = inspect.getdoc(kind).partition('Args:')[2].partition('\n\n')[0]
    documented = {word for names in re.findall(r'^    (\w[\w, ]*):', text, re.M) for word in names.split(', ')}
    needed, offered, _ = ARGUMENTS[name]
    assert documented <= {*needed, *offered}
