"""What a user of mmdet, mmpose or mmpretrain meets: names in the registry and the hosts' own tools."""
from pathlib import Path

import pytest
from mm import call, write_config
from mmengine.registry import MODELS
from mmengine.utils import get_installed_path

from micronet_mm.datasets import write_figures
from micronet_mm.models import MicroNet


def test_import_is_light():
    code = ("import sys, mmengine.model; before = set(sys.modules); import micronet_mm; heavy = {'mmdet', 'mmpose', "
            "'mmpretrain', 'mmcv.ops', 'matplotlib', 'scipy', 'pycocotools', 'torchvision', 'triton'}; "
            "print(sorted(heavy & set(sys.modules) - before))")
    run = call('-c', code, apart=True, cold=True)
    assert run.stdout == '[]\n', run.stdout + run.stderr
    assert run.stderr == ''


@pytest.mark.parametrize('host', ['mmdet', 'mmpose', 'mmpretrain'])
def test_backbone_is_found_from_every_scope_without_prefix(host):
    registry = pytest.importorskip(f'{host}.registry')
    assert isinstance(registry.MODELS.build(dict(type='MicroNet', arch='m0')), MicroNet)
    assert MODELS.get('MicroNet') is MicroNet


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=8, num_val=2)
    return root


MMDET_TOOLS = Path(get_installed_path('mmdet')) / '.mim' / 'tools'
SURE = 'model = dict(test_cfg=dict(score_thr=0.0))\n'  # an untrained detector must find something
ONE_EPOCH = 'train_cfg = dict(max_epochs=1, val_interval=1)\n'
UNTOUCHED_BASE = '''
_base_ = ['mmdet::_base_/models/{base}.py', 'mmdet::_base_/datasets/coco_detection.py',
          'mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py']
custom_imports = dict(imports=['micronet_mm'])
model = dict(
    backbone=dict(_delete_=True, type='MicroNet', arch='m0', out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[8, 12, 32, 384]))
data_root = '{data}/'
data = dict(data_root=data_root, metainfo=dict(classes=('person', 'disc', 'square', 'triangle')))
load, annotations = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)
small = dict(type='Resize', scale=(64, 64), keep_ratio=True)
meta = dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    **data, ann_file='annotations/train.json', data_prefix=dict(img='train/'),
    pipeline=[load, annotations, small, dict(type='PackDetInputs')]))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    **data, ann_file='annotations/val.json', data_prefix=dict(img='val/'), pipeline=[load, small, annotations, meta]))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
'''


def test_mmdet_trains_our_config_and_tests_it(data, tmp_path):
    config = write_config(tmp_path / 'ours.py', data, ONE_EPOCH + SURE)
    run = call(MMDET_TOOLS / 'train.py', config, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    checkpoint = tmp_path / 'work_dirs' / 'ours' / 'epoch_1.pth'
    assert checkpoint.exists()
    run = call(MMDET_TOOLS / 'test.py', config, checkpoint, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'coco/bbox_mAP_50:' in run.stdout


def test_the_operators_are_there_for_who_imports_mmdet_alone():
    code = "import mmdet.apis, sys; assert 'micronet_mm' not in sys.modules; from mmcv.ops import nms, roi_align"
    run = call('-c', code, apart=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('base', ['retinanet_r50_fpn', pytest.param('faster-rcnn_r50_fpn', marks=pytest.mark.slow)])
def test_mmdet_trains_its_own_base_with_our_backbone(base, data, tmp_path):
    (tmp_path / 'theirs.py').write_text(UNTOUCHED_BASE.format(base=base, data=data))
    run = call(MMDET_TOOLS / 'train.py', 'theirs.py', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / 'work_dirs' / 'theirs' / 'epoch_1.pth').exists()
