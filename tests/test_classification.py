"""The ImageNet part: mmpretrain's ImageClassifier around the backbone and the paper's classifier."""
import re
import subprocess
import sys

import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import load_checkpoint
from released import expected, normal

CONFIGS = ROOT / 'configs'
DIGITS = CONFIGS / 'demo' / 'imagenet_micronet_m0_digits.py'


@pytest.fixture
def mmpretrain_scope():
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')
    yield
    DefaultScope._instance_dict.clear()


def build(config):
    return MODELS.build(Config.fromfile(config).model)


@pytest.mark.parametrize('arch', ['m0', 'm3'])
def test_converted_checkpoint_gives_the_released_logits(arch, converted, mmpretrain_scope):
    model = build(CONFIGS / f'imagenet_micronet_{arch}.py').eval()
    load_checkpoint(model, str(converted[arch]), strict=True)
    with torch.no_grad():
        logits = model(normal(1, 2, 3, 224, 224))
    assert (logits - torch.as_tensor(expected(arch)['logits_224_seed1'])).abs().max() < 1e-3


@pytest.mark.parametrize(('arch', 'decay', 'dropout', 'warmup'), [
    ('m0', 3e-5, 0.05, False), ('m1', 3e-5, 0.05, False), ('m2', 3e-5, 0.1, False), ('m3', 4e-5, 0.1, True),
])
def test_configs_are_the_recipe(arch, decay, dropout, warmup, mmpretrain_scope):
    cfg = Config.fromfile(CONFIGS / f'imagenet_micronet_{arch}.py')
    assert cfg.train_cfg.max_epochs == 600
    for key, value in dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=decay).items():
        assert cfg.optim_wrapper.optimizer[key] == value
    assert cfg.auto_scale_lr.enable and cfg.auto_scale_lr.base_batch_size == 512
    assert cfg.model.head.dropout == dropout
    schedule = cfg.param_scheduler if warmup else [cfg.param_scheduler]
    assert schedule[-1].type == 'CosineAnnealingLR' and schedule[-1].end == 600 and schedule[-1].convert_to_iter_based
    assert schedule[-1].T_max == schedule[-1].end - schedule[-1].get('begin', 0)
    assert [s.end for s in schedule[:-1]] == ([5] if warmup else [])
    assert cfg.val_evaluator.topk == (1, 5)
    backbone = MODELS.build(cfg.model.backbone)
    assert backbone.out_channels == (cfg.model.head.in_channels, )


def test_head_is_imported_only_when_built():
    code = ("import sys, micronet_mm; assert 'mmpretrain' not in sys.modules; "
            "from micronet_mm.models import MicroNetClsHead; print(MicroNetClsHead.__bases__[0].__name__)")
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.stdout == 'ClsHead\n', run.stderr


def test_missing_host_is_named():
    code = ("import sys; sys.modules['mmpretrain'] = None; import micronet_mm; from mmengine.registry import MODELS; "
            "MODELS.build(dict(type='MicroNetClsHead', in_channels=8, hidden_channels=8))")
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert "MicroNetClsHead builds on mmpretrain, which is not installed: pip install 'micronet-mm[cls]'" in run.stderr


def test_digits_train_and_test_from_the_tools(tmp_path):
    pytest.importorskip('sklearn')
    assert call(ROOT / 'tools' / 'make_digits.py', 'data/digits', cwd=tmp_path).returncode == 0
    short = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=64',
             'val_dataloader.dataset.indices=32', 'test_dataloader.dataset.indices=32']
    run = call(ROOT / 'tools' / 'train.py', DIGITS, '--work-dir', 'w', *short, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    run = call(ROOT / 'tools' / 'test.py', DIGITS, 'w/epoch_1.pth', *short, cwd=tmp_path)
    assert re.search(r'accuracy/top1: [\d.]+ +accuracy/top5: [\d.]+', run.stdout), run.stdout[-2000:]


@pytest.mark.slow
def test_digits_demo_reaches_97_percent(tmp_path):
    assert call(ROOT / 'tools' / 'make_digits.py', 'data/digits', cwd=tmp_path).returncode == 0
    run = call(ROOT / 'tools' / 'train.py', DIGITS, '--work-dir', 'w', cwd=tmp_path, timeout=900)
    assert float(re.findall(r'accuracy/top1: ([\d.]+)', run.stdout)[-1]) >= 97.0
