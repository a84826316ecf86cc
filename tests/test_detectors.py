"""The detectors that we ship, and those of docs/detectors.md, build, train and predict."""
import re
from pathlib import Path

import pytest
import torch
from mm import ROOT, call, write_config
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import get_installed_path

from micronet_mm.datasets import write_figures

pytest.importorskip('mmdet')

RECIPES = dict(re.findall(r'## ([\w -]+).*?```python\n(.*?)```', (ROOT / 'docs' / 'detectors.md').read_text(), re.S))
SHIPPED = sorted(path.stem for kind in ('retinanet', 'faster_rcnn') for path in (ROOT / 'configs').glob(f'{kind}_*.py'))


def test_all_are_here():
    assert [name.split(',')[0] for name in RECIPES] == ['FCOS', 'ATSS', 'Mask R-CNN', 'RTMDet-tiny', 'SSD-lite']
    assert len(SHIPPED) == 6


@pytest.mark.parametrize('name', list(RECIPES))
def test_documented_recipe_trains_and_predicts(name, tmp_path):
    (tmp_path / 'yours.py').write_text(RECIPES[name])
    model = train_and_predict(Config.fromfile(tmp_path / 'yours.py'), with_mask='Mask' in name)
    assert [round(v, 2) for v in model.data_preprocessor.mean.flatten().tolist()] == [123.68, 116.28, 103.53]
    assert model.data_preprocessor._channel_conversion


# With the operators that they are known for, compiled or not.
OTHERS = {
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco': ((0, 1, 2, 3), [16, 24, 80, 864]),  # RoIAlign
    'cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco': ((0, 1, 2, 3), [16, 24, 80, 864]),  # DeformConv2d
    'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco': ((3, ), 864),  # ModulatedDeformConv2d
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco': ((1, 2, 3), [24, 80, 864]),  # deformable attention
    'detr/detr_r50_8xb2-150e_coco': ((3, ), [864]),
    'pisa/faster-rcnn_r50_fpn_pisa_1x_coco': ((0, 1, 2, 3), [16, 24, 80, 864]),  # nms_match
}


@pytest.mark.slow
@pytest.mark.parametrize('base', OTHERS)
def test_other_detectors_train_and_predict(base):
    out_indices, in_channels = OTHERS[base]
    cfg = Config.fromfile(Path(get_installed_path('mmdet')) / '.mim' / 'configs' / f'{base}.py')
    cfg.model.backbone = dict(type='MicroNet', arch='m3', out_indices=out_indices)
    cfg.model.neck.update(dict(in_channels=in_channels))
    if 'rcnn' in cfg.model.get('test_cfg', {}):
        cfg.model.test_cfg.rcnn.nms = dict(type='soft_nms', iou_threshold=0.5, min_score=0.0)
    train_and_predict(cfg)


def train_and_predict(cfg, with_mask=False):
    """A step of training with gradients everywhere in the backbone, and a prediction; returns the model."""
    from mmdet.testing import demo_mm_inputs
    init_default_scope('mmdet')
    cfg.model.data_preprocessor.batch_augments = None
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    assert type(model.backbone).__name__ == 'MicroNet'
    inputs = demo_mm_inputs(2, [[3, 128, 128]] * 2, num_items=[3, 2], with_mask=with_mask)
    losses = model(**model.data_preprocessor(inputs, True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    gradients = [p.grad for p in model.backbone.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients) and any(g.abs().sum() > 0 for g in gradients)
    model.eval()
    with torch.no_grad():
        found = model(**model.data_preprocessor(inputs, False), mode='predict')
    assert len(found) == 2 and all('bboxes' in sample.pred_instances for sample in found)
    return model


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=4, num_val=2)
    return root


EVERY_TIME = 'faster_rcnn_mobilenetv3_small'  # the others whenever the slow tests run


@pytest.mark.parametrize('name', [name if name == EVERY_TIME else pytest.param(name, marks=pytest.mark.slow)
                                  for name in SHIPPED])
def test_shipped_config_trains_and_evaluates(name, data, tmp_path):
    head, sure = 'bbox_head=dict(num_classes=4)', 'score_thr=0.0'  # untrained, it must find something
    if 'rcnn' in name:
        head, sure = f'roi_head=dict({head})', f'rcnn=dict({sure})'
    config = write_config(tmp_path / 'tiny.py', data, f'''
model = dict(backbone=dict(init_cfg=None), {head}, test_cfg=dict({sure}))
train_cfg = dict(max_epochs=1)
''', base=ROOT / 'configs' / f'{name}.py')
    run = call(ROOT / 'tools' / 'train.py', config, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'coco/bbox_mAP_50' in run.stdout
    assert (tmp_path / 'work_dirs' / 'tiny' / 'epoch_1.pth').exists()
