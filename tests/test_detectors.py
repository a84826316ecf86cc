"""The detectors that we ship, and those of docs/detectors.md, build, train and predict."""
import re

import pytest
import torch
from mm import ROOT, call, write_config
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from micronet_mm.datasets import write_figures

pytest.importorskip('mmdet')

RECIPES = dict(re.findall(r'## ([\w -]+).*?```python\n(.*?)```', (ROOT / 'docs' / 'detectors.md').read_text(), re.S))
SHIPPED = sorted(path.stem for kind in ('retinanet', 'faster_rcnn') for path in (ROOT / 'configs').glob(f'{kind}_*.py'))


def test_all_are_here():
    assert [name.split(',')[0] for name in RECIPES] == ['FCOS', 'ATSS', 'Mask R-CNN', 'RTMDet-tiny', 'SSD-lite']
    assert len(SHIPPED) == 6


@pytest.mark.parametrize('name', list(RECIPES))
def test_documented_recipe_trains_and_predicts(name, tmp_path):
    from mmdet.testing import demo_mm_inputs
    (tmp_path / 'yours.py').write_text(RECIPES[name])
    cfg = Config.fromfile(tmp_path / 'yours.py')
    init_default_scope('mmdet')
    cfg.model.data_preprocessor.batch_augments = None
    model = MODELS.build(cfg.model).train()
    assert type(model.backbone).__name__ == 'MicroNet'
    assert [round(v, 2) for v in model.data_preprocessor.mean.flatten().tolist()] == [123.68, 116.28, 103.53]
    assert model.data_preprocessor._channel_conversion
    inputs = demo_mm_inputs(2, [[3, 128, 128]] * 2, num_items=[3, 2], with_mask='Mask' in name)
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
