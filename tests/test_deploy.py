"""The deploy form computes what the trained form does, and is made of little."""
import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.cnn import ConvModule
from mmengine.hooks import EMAHook
from mmengine.runner import get_priority
from released import ARCHS, normal
from test_golden import network
from torch import nn

from micronet_mm.deploy import switch_to_deploy
from micronet_mm.deploy.fold import Steps, natural
from micronet_mm.deploy.hook import SwitchToDeployHook
from micronet_mm.deploy.layers import DeployShiftMax, DeployStem, Permutation
from micronet_mm.hub import create_model
from micronet_mm.layers import Chain, ChannelShuffle, ConvNorm, DynamicShiftMax, MicroFactorizedPointwiseConv
from micronet_mm.models import MicroBlockA, MicroBlockB, MicroBlockE, MicroNet, MicroStem


def unsettled(module):
    """With statistics and weights that are not the initial ones."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(0, 0.3), layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                nn.init.uniform_(layer.weight, 0.5, 1.5), nn.init.normal_(layer.bias, 0, 0.3)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.3)
        elif getattr(layer, 'z', None) is not None:
            nn.init.normal_(layer.z)
    return module.eval()


def assert_same(module, *shapes, tolerance=1e-12):
    """In double precision: what is left is rounding."""
    module = unsettled(module).double()
    deployed = switch_to_deploy(copy.deepcopy(module))
    for shape in shapes:
        x = torch.randn(shape, dtype=torch.double)
        with torch.no_grad():
            pairs = [(module(x), deployed(x))]
        if isinstance(pairs[0][0], tuple):
            pairs = list(zip(*pairs[0]))
        for theirs, ours in pairs:
            assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()
    return deployed


NETWORKS = {
    **{arch: dict(arch=arch) for arch in ('m0', 'm1', 'm2', 'm3', 'm1_sharp', 'm2_sharp', 'm3_sharp')},
    'all stages': dict(arch='m3', out_indices=(0, 1, 2, 3)),
    'first stages': dict(arch='m2', out_indices=(0, 1)),
    'keypoints': dict(arch='m0', output_stride=16, spatial=True),
    'J = K = 3': dict(arch='m0', J=3, K=3, shift='paper'),
    'J = K = 1': dict(arch='m0', J=1, K=1),
    'static': dict(arch='m0', coefficients='static', spatial=True),
    'ReLU6': dict(arch='m3', dynamic=(0, 0, 0)),
    'A1 alone': dict(arch='m2', dynamic=(1, 0, 0)),
    'lite everywhere': dict(arch='m2', lite='everywhere', groups=2),
    'BN without affine': dict(arch='m0', norm_cfg=dict(type='BN', affine=False)),
    'SyncBN': dict(arch='m0', norm_cfg=dict(type='SyncBN')),
    'GN': dict(arch='m0', norm_cfg=dict(type='GN', num_groups=1)),
    'one channel': dict(arch='m0', in_channels=1),
}


@pytest.mark.parametrize('name', NETWORKS)
def test_networks_compute_the_same(name):
    options = NETWORKS[name]
    channels = options.get('in_channels', 3)
    deployed = assert_same(MicroNet(**options), (2, channels, 64, 96), (1, channels, 33, 47), (1, channels, 1, 1))
    assert not any(isinstance(m, (nn.modules.batchnorm._BatchNorm, ChannelShuffle, DynamicShiftMax))
                   for m in deployed.modules())


@pytest.mark.parametrize('arch', ARCHS)
def test_released_networks_within_a_ten_thousandth(arch, converted):
    model = network(arch, converted[arch]).eval()
    deployed = switch_to_deploy(copy.deepcopy(model))
    for size in (224, 160):
        x = normal(1, 2, 3, size, size)
        with torch.no_grad():
            theirs, ours = (m['head'].classifier(m['backbone'](x)[-1]) for m in (model, deployed))
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


@settings(max_examples=25)
@given(kind=st.sampled_from([MicroBlockA, MicroBlockB, MicroBlockE]), width=st.sampled_from([4, 6, 12, 16]),
       out=st.sampled_from([4, 12, 16, 24]), stride=st.sampled_from([1, 2]), kernel=st.sampled_from([1, 3, 5]),
       dynamic=st.tuples(*[st.booleans()] * 3), height=st.integers(1, 7), columns=st.integers(1, 7))
def test_blocks_of_any_kind(kind, width, out, stride, kernel, dynamic, height, columns):
    shape = {} if kind is MicroBlockE else dict(kernel_size=kernel, stride=stride, expansion=(2, 2))
    out = 4 * out if kind is MicroBlockE else out
    assert_same(kind(width, out, dynamic=dynamic, **shape), (2, width, height, columns))


def test_other_layers():
    assert_same(MicroStem(3, (4, 3)), (2, 3, 9, 11), (1, 3, 2, 1))
    assert_same(MicroFactorizedPointwiseConv(24, reduction=2), (2, 24, 3, 3))
    assert_same(ConvNorm(6, 8, 3, padding=1, groups=2, norm_cfg=None), (2, 6, 5, 5))
    assert_same(DynamicShiftMax(12, 3), (2, 12, 4, 4))


@given(st.permutations(range(12)), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_a_group_convolution_takes_any_order(order, groups):
    """And puts channels in order only if those of a group are not together."""
    conv = nn.Conv2d(12, 24, 1, groups=groups).double()
    steps = Steps(torch.tensor(order))
    with torch.no_grad():
        steps.take_conv(conv)
        x = torch.randn(1, 12, 2, 2, dtype=torch.double)
        y = x[:, torch.argsort(torch.tensor(order))]
        assert torch.equal(y[:, order], x)
        for layer in steps.layers:
            y = layer(y)
        torch.testing.assert_close(y[:, steps.order], conv(x))
    together = all(len({order[i] // (12 // groups) for i in range(g, g + 12 // groups)}) == 1
                   for g in range(0, 12, 12 // groups))
    assert any(isinstance(layer, Permutation) for layer in steps.layers) is not together


def test_m3_is_made_of_little():
    backbone = switch_to_deploy(MicroNet('m3'))
    kinds = [type(m) for m in backbone.modules()]
    assert kinds.count(DeployShiftMax) == 11 and kinds.count(DeployStem) == 1
    assert kinds.count(Permutation) == 11 + 9  # one before a compressing and one before an expanding convolution


def test_a_network_may_be_asked_twice():
    backbone = unsettled(MicroNet('m0'))
    x = torch.randn(1, 3, 64, 64)
    before = backbone(x)[-1]
    backbone.switch_to_deploy()
    once = backbone(x)[-1]
    backbone.switch_to_deploy()
    assert torch.equal(backbone(x)[-1], once) and (once - before).abs().max() < 1e-5 * before.abs().max()


def test_the_hook_has_averaged_weights_tested():
    """MMEngine's EMAHook puts them into the model before the test, and its own back behind it."""
    backbone, averaged = unsettled(MicroNet('m0')).double(), unsettled(MicroNet('m0')).double()
    for parameter in averaged.parameters():
        parameter.data.mul_(0.9)
    x = torch.randn(1, 3, 64, 64).double()
    before, expected = copy.deepcopy(backbone.state_dict()), copy.deepcopy(averaged).eval()(x)[-1]
    ema = EMAHook()
    ema.src_model, ema.ema_model = backbone, SimpleNamespace(module=averaged, update_buffers=True)
    runner = SimpleNamespace(model=SimpleNamespace(module=backbone))
    hooks = sorted([SwitchToDeployHook(), ema], key=lambda hook: get_priority(hook.priority))
    for hook in hooks:
        hook.before_test_epoch(runner)
    assert any(isinstance(m, DeployStem) for m in runner.model.modules())
    assert (runner.model(x)[-1] - expected).abs().max() < 1e-9 * expected.abs().max()
    for hook in hooks:
        hook.after_test_epoch(runner)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_keypoint_model_is_switched_by_its_own_method():
    """mmpose hands its test settings to every layer that can be switched."""
    pytest.importorskip('mmpose')
    from mmpose.models import TopdownPoseEstimator
    from mmpose.utils import register_all_modules
    register_all_modules(init_default_scope=False)
    head = dict(type='MicroHeatmapHead', in_channels=384, out_channels=3, widths=(16, 8, 8),
                loss=dict(type='KeypointMSELoss'))
    model = unsettled(TopdownPoseEstimator(dict(type='MicroNet', arch='m0', output_stride=16), head=head))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model.head(model.extract_feat(x))
        model.switch_to_deploy()
        after = model.head(model.extract_feat(x))
    assert (after - before).abs().max() < 1e-4 * before.abs().max()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_conv_modules_that_share_a_convolution():
    """As the heads of RTMDet do, with a BN for each level."""
    first, second = (ConvModule(4, 4, 3, padding=1, norm_cfg=dict(type='BN')) for _ in range(2))
    second.conv = first.conv
    pair = nn.Sequential(first, second)
    deployed = assert_same(pair, (2, 4, 5, 5))
    assert not torch.equal(deployed[0].conv.weight, deployed[1].conv.weight)


def test_convolutions_of_other_kinds_are_left_alone():
    for kind in ('deconv', 'ConvWS'):
        assert_same(ConvModule(4, 4, 3, padding=1, conv_cfg=dict(type=kind), norm_cfg=dict(type='BN')), (2, 4, 5, 5))
    assert_same(ConvNorm(4, 8, 3, padding=1, conv_cfg=dict(type='ConvWS')), (2, 4, 5, 5))


def test_conv_modules_that_are_left_alone():
    for options in (dict(norm_cfg=dict(type='GN', num_groups=2)), dict(norm_cfg=None),
                    dict(norm_cfg=dict(type='BN'), order=('norm', 'conv', 'act'))):
        assert_same(ConvModule(4, 4, 3, **options), (2, 4, 5, 5))


def test_a_stem_that_takes_pixels():
    stem = unsettled(MicroStem(3, (4, 2))).double()
    deployed = switch_to_deploy(copy.deepcopy(stem))
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    next(m for m in deployed.modules() if isinstance(m, DeployStem)).take_pixels(mean, std)
    x = torch.rand(2, 3, 11, 7, dtype=torch.double) * 255
    normalized = (x - x.new_tensor(mean).view(3, 1, 1)) / x.new_tensor(std).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(deployed(x), stem(normalized))


def test_natural_order_is_the_order_of_numbers():
    assert natural(4).tolist() == [0, 1, 2, 3]


# What computes something else than its class says


def half_forward(base):
    """A subclass that gives half of what its base gives."""
    return type(f'Half{base.__name__}', (base, ), dict(forward=lambda self, x: base.forward(self, x) * 0.5))


def helped(base, name):
    """A subclass whose ``forward`` is inherited and calls a method that is not."""
    return type(f'Helped{base.__name__}', (base, ), {name: lambda self, *args: getattr(base, name)(self, *args) * 0.5})


def halve(module, _, output):
    return output * 0.5


CHANGES = {
    'a subclass': lambda layer: setattr(layer, '__class__', half_forward(type(layer))),
    'its own forward': lambda layer: setattr(layer, 'forward', lambda x, was=layer.forward: was(x) * 0.5),
    'a hook': lambda layer: layer.register_forward_hook(halve),
    'a hook before': lambda layer: layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0.5, )),
}

def layers_of(network):
    """One of each class in a network, from the second stage on where there is one."""
    found = {}
    for module in [*network.stages[1].modules(), *network.modules()]:
        found.setdefault(type(module), module)
    return found


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('engine', ['pytorch', 'native'])
def test_what_computes_something_else_stays_as_it_is(change, engine):
    """Each class of layer in turn, blocks and containers among them."""
    x = torch.randn(1, 3, 32, 32)
    kinds = [kind for kind in layers_of(MicroNet('m0')) if kind not in (nn.ModuleList, MicroNet)]
    assert len(kinds) > 12
    for kind in kinds:
        network = unsettled(MicroNet('m0', out_indices=(0, 1, 2, 3))).eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            plain = network(x)
            CHANGES[change](layers_of(network)[kind])
            expected = network(x)
            found = switch_to_deploy(network, engine=engine)(x)
        assert any(not torch.equal(*pair) for pair in zip(expected, plain)), kind
        for ours, theirs in zip(found, expected):
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max(), kind


@pytest.mark.parametrize(('kind', 'name'), [
    (DynamicShiftMax, 'coefficients'), (nn.Conv2d, '_conv_forward'), (MicroNet, 'forward_stage')])
def test_a_subclass_with_another_method_stays_as_it_is(kind, name):
    backbone = unsettled(MicroNet('m0', out_indices=(0, 1, 2, 3))).eval()
    x = torch.randn(1, 3, 32, 32)
    layer = next(module for module in backbone.modules() if isinstance(module, kind))
    layer.__class__ = helped(kind, name)
    expected = backbone(x)
    for ours, theirs in zip(switch_to_deploy(backbone)(x), expected):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_other_modules_that_change_what_they_compute():
    """Weights that are parametrized, mmcv's ConvModule, normalization in training mode, another activation inside."""
    class Always(nn.BatchNorm2d):
        def eval(self):
            return self.train()

        def train(self, mode=True):
            return super().train(True)

    class WithAct(nn.BatchNorm2d):  # as timm has it
        def forward(self, x):
            return super().forward(x).relu()

    conv = ConvModule(4, 4, 1, norm_cfg=dict(type='BN'), act_cfg=None)
    with_act, hooked = copy.deepcopy(conv), copy.deepcopy(conv)
    with_act.bn.__class__ = WithAct
    hooked.conv.register_forward_hook(halve)
    spectral = copy.deepcopy(conv)
    nn.utils.parametrizations.spectral_norm(spectral.conv)
    always = ConvNorm(4, 4, 1)
    always[1].__class__ = Always
    for module in (with_act, hooked, spectral):
        assert_same(module, (2, 4, 5, 5))
    assert type(switch_to_deploy(always)[1]) is Always


def test_heads_that_lack_layers_or_have_others():
    x = torch.randn(2, 3, 32, 32)
    for options in (dict(num_classes=0), dict(num_classes=0, global_pool=''), dict(num_classes=3, in_chans=3)):
        for engine in ('pytorch', 'native'):
            network = unsettled(create_model('micronet_m0', **options)).eval()
            with torch.no_grad():
                expected = network(x)
                found = switch_to_deploy(network, engine=engine)(x)
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    network = unsettled(create_model('micronet_m0', num_classes=3)).eval()
    network.head.classifier.fc2 = nn.Sequential(network.head.classifier.fc2, nn.Tanh())
    network.head.classifier.bn1 = nn.Identity()
    expected = network(x)
    assert (switch_to_deploy(network)(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_residual_chains_behind_blocks_run_natively():
    pair = nn.Sequential(MicroBlockB(8, 16, stride=2), Chain(dict(conv=ConvNorm(16, 16, 1)), shortcut=True))
    x = torch.randn(2, 8, 8, 8)
    expected = unsettled(pair).eval()(x)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('error')
        assert (switch_to_deploy(pair, engine='native')(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert_same(Chain({}, shortcut=True), (1, 4, 3, 3))


def test_what_depends_on_values_is_no_plan():
    class Choice(nn.Module):
        def forward(self, x):
            return torch.relu(x) if x.mean().item() > 0 else x

    network = switch_to_deploy(Choice(), engine='native')
    x = torch.rand(1, 2, 3, 3) + 1
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert torch.equal(network(x), x) and torch.equal(network(-x), -x)


@pytest.mark.parametrize('options', [dict(), dict(spatial=True), dict(output_stride=16, spatial=True)])
def test_feature_maps_are_those_that_are_told(options):
    network = create_model('micronet_m0', features_only=True, **options)
    maps = network(torch.randn(1, 3, 64, 64))
    assert network.feature_info.channels() == [y.shape[1] for y in maps]
    assert network.feature_info.reduction() == [64 // y.shape[2] for y in maps]
