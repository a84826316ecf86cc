"""Counting follows the paper's rule and gives spec's figures."""
import pytest
from mm import ROOT, call
from mmengine.config import Config
from torch import nn

from micronet_mm.analysis import Cost, count
from micronet_mm.analysis.from_config import count_config
from micronet_mm.layers import DynamicShiftMax
from micronet_mm.models import ARCHS, MicroNet, MicroNetClassifier


def classifier(arch):
    backbone = MicroNet(arch)

    class Network(nn.Module):

        def __init__(self):
            super().__init__()
            self.backbone = backbone
            self.head = MicroNetClassifier(backbone.out_channels[-1], ARCHS[arch].classifier)

        def forward(self, x):
            return self.head(self.backbone(x)[-1])

    return Network()


@pytest.mark.parametrize(('arch', 'params', 'madds'), [
    ('m0', 1_019_590, 4.05e6), ('m1', 1_777_587, 6.12e6), ('m2', 2_393_876, 12.74e6), ('m3', 2_622_960, 20.81e6),
])
def test_released_networks(arch, params, madds):
    total = count(classifier(arch)).total
    assert total.params == params
    assert total.madds == pytest.approx(madds, rel=0.005)


@pytest.mark.parametrize(('arch', 'params', 'madds'), [('m1_sharp', '1.2', '5'), ('m2_sharp', '1.4', '11'),
                                                       ('m3_sharp', '1.6', '20')])
def test_sharp_variants_print_as_table_7(arch, params, madds):
    total = count(classifier(arch)).total
    assert (f'{total.params / 1e6:.1f}', f'{total.madds / 1e6:.0f}') == (params, madds)


@pytest.mark.parametrize(('arch', 'madds'), [('m2', 10.93e6), ('m3', 18.90e6)])
def test_backbone_alone(arch, madds):
    assert count(MicroNet(arch)).total.madds == pytest.approx(madds, rel=0.001)


@pytest.mark.parametrize(('arch', 'madds'), [('m2', 16.39e6), ('m3', 28.75e6)])
def test_backbone_at_stride_16(arch, madds):
    assert count(MicroNet(arch, output_stride=16), 256, 192).total.madds == pytest.approx(madds, rel=0.001)


def test_layers_by_hand():
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(16),
                          DynamicShiftMax(16, J=3, K=2, reduction=4))
    cost = count(model, 10, 6, channels=8)
    shift_max = 10 * 6 * 16 * 3 * 2 + 16 * 4 + 4 * 96
    assert cost.total.madds == 10 * 6 * 16 * 2 * 9 + shift_max
    assert cost.by_kind() == {
        'convolution': Cost(16 * 2 * 9, 10 * 6 * 16 * 2 * 9),
        'normalization': Cost(32, 0),
        'Dynamic Shift-Max': Cost(16 * 4 + 4 + 4 * 96 + 96, shift_max),
    }
    assert model.training and cost.within('2').madds == shift_max


def test_parts_and_kinds_add_up():
    cost = count(classifier('m3'))
    for groups in (cost.by_part(), cost.by_kind()):
        assert sum(groups.values(), Cost()) == cost.total
    assert list(cost.by_part()) == ['backbone.stem', *(f'backbone.stages.{i}' for i in range(4)), 'head']


TWO_STAGE = '''
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
default_scope = 'mmdet'
model = dict(backbone=dict(_delete_=True, type='MicroNet', arch='m0', out_indices=(0, 1, 2, 3)),
             neck=dict(in_channels=[8, 12, 32, 384]))
'''


def test_two_stage_detector_is_counted_with_all_its_proposals(tmp_path):
    pytest.importorskip('mmdet')
    (tmp_path / 'faster_rcnn.py').write_text(TWO_STAGE)
    cost = count_config(Config.fromfile(tmp_path / 'faster_rcnn.py'), (128, 160))
    per_proposal = 256 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * (81 + 4 * 80)
    assert cost.within('roi_head').madds == 1000 * per_proposal
    assert cost.within('backbone').madds == count(MicroNet('m0'), 128, 160).total.madds


def test_pose_model(tmp_path):
    pytest.importorskip('mmpose')
    (tmp_path / 'pose.py').write_text('''
default_scope = 'mmpose'
codec = dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(6, 8), sigma=2)
model = dict(type='TopdownPoseEstimator', backbone=dict(type='MicroNet', arch='m0'), head=dict(
    type='HeatmapHead', in_channels=384, out_channels=17, deconv_out_channels=None, decoder=codec,
    loss=dict(type='KeypointMSELoss')))
''')
    cost = count_config(Config.fromfile(tmp_path / 'pose.py'))
    assert cost.within('head').madds == 8 * 6 * 384 * 17


def test_tool_counts_a_config(tmp_path):
    run = call(ROOT / 'tools' / 'get_flops.py', ROOT / 'configs' / 'imagenet_micronet_m0.py', cwd=tmp_path)
    assert '1,019,590 parameters, 4,054,128 multiply-adds' in run.stdout
    run = call(ROOT / 'tools' / 'get_flops.py', 'none.py', cwd=tmp_path)
    assert run.returncode == 1 and run.stdout.startswith('error: the config none.py does not exist')
    run = call(ROOT / 'tools' / 'get_flops.py', ROOT / 'configs' / 'imagenet_micronet_m0.py', '--shape', '0', '9',
               cwd=tmp_path)
    assert run.returncode == 1 and run.stdout.splitlines()[-1] == (
        'error: height and width must be positive, got 0 9.')
