"""The ImageNet part: mmpretrain's ImageClassifier around the backbone and the paper's classifier."""
import itertools
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from released import expected, normal

CONFIGS = ROOT / 'configs'
DIGITS = CONFIGS / 'demo' / 'imagenet_micronet_m0_digits.py'


@pytest.fixture
def mmpretrain_scope():
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')


def build(config):
    return MODELS.build(Config.fromfile(config).model)


@pytest.mark.parametrize('arch', ['m0', 'm3'])
def test_converted_checkpoint_gives_the_released_logits(arch, converted, mmpretrain_scope):
    model = build(CONFIGS / f'imagenet_micronet_{arch}.py').eval()
    load_checkpoint(model, str(converted[arch]), strict=True)
    with torch.no_grad():
        logits = model(normal(1, 2, 3, 224, 224))
    assert (logits - torch.as_tensor(expected(arch)['logits_224_seed1'])).abs().max() < 1e-3


def test_head_is_imported_only_when_built():
    code = ("import sys, micronet_mm; assert 'mmpretrain' not in sys.modules; "
            "from micronet_mm.models import MicroNetClsHead; print(MicroNetClsHead.__bases__[0].__name__)")
    run = call('-c', code, apart=True)
    assert run.stdout == 'ClsHead\n', run.stderr


def test_missing_host_is_named():
    code = ("import sys; sys.modules['mmpretrain'] = None; import micronet_mm; from mmengine.registry import MODELS; "
            "MODELS.build(dict(type='MicroNetClsHead', in_channels=8, hidden_channels=8))")
    run = call('-c', code, apart=True)
    assert "MicroNetClsHead builds on mmpretrain, which is not installed: pip install 'micronet-mm[cls]'" in run.stderr


def test_without_scikit_learn_the_digits_say_what_to_install(tmp_path):
    tool = ROOT / 'tools' / 'make_digits.py'
    code = ("import runpy, sys; sys.modules['sklearn'] = None; "
            f"sys.argv = ['make_digits.py', {str(tmp_path / 'digits')!r}]; "
            f"runpy.run_path({str(tool)!r}, run_name='__main__')")
    run = call('-c', code, apart=True)
    assert run.stderr == ('error: the digits come with scikit-learn, which is not installed: '
                          'pip install scikit-learn.\n')
    assert not any(tmp_path.iterdir())


def test_digits_train_and_test_from_the_tools(tmp_path):
    pytest.importorskip('sklearn')
    assert call(ROOT / 'tools' / 'make_digits.py', 'data/digits', cwd=tmp_path).returncode == 0
    short = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=64',
             'val_dataloader.dataset.indices=32', 'test_dataloader.dataset.indices=32']
    run = call(ROOT / 'tools' / 'train.py', DIGITS, '--work-dir', 'w', *short, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    run = call(ROOT / 'tools' / 'test.py', DIGITS, 'w/epoch_1.pth', *short, cwd=tmp_path)
    assert re.search(r'accuracy/top1: [\d.]+ +accuracy/top5: [\d.]+', run.stdout), run.stdout[-2000:]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """An image folder of two classes, one image broken, with a model trained on it: w/epoch_1.pth, and train.log."""
    root = tmp_path_factory.mktemp('folder')
    rng = np.random.default_rng(0)
    for split, label, index in itertools.product(('train', 'val'), ('cat', 'dog'), range(4)):
        path = root / 'data' / split / label / f'{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (40, 40, 3), np.uint8))
    (root / 'data' / 'train' / 'cat' / 'broken.jpg').write_bytes(b'not a picture')
    (root / 'tiny.py').write_text(f"""
_base_ = {str(CONFIGS / 'imagenet_micronet_m0.py')!r}
model = dict(head=dict(num_classes=2))
folder = dict(data_root='data')
train_dataloader = dict(batch_size=3, num_workers=0, persistent_workers=False, dataset=folder)
val_dataloader = dict(batch_size=4, num_workers=1, persistent_workers=False, dataset=folder)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 2))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
""")
    run = call(ROOT / 'tools' / 'train.py', 'tiny.py', '--work-dir', 'w', cwd=root)
    assert run.returncode == 0, run.stdout[-2000:]
    (root / 'train.log').write_text(run.stdout)
    return root


def test_a_corrupt_image_does_not_end_training(folder):
    log = (folder / 'train.log').read_text()
    assert 'broken.jpg cannot be decoded and is skipped' in log
    assert 'accuracy/top1' in log


def test_bad_evaluations_get_one_line(folder, converted):
    test = ROOT / 'tools' / 'test.py'
    (folder / 'cut.pth').write_bytes((folder / 'w' / 'epoch_1.pth').read_bytes()[:10_000])
    for checkpoint, message in ((converted['m3'], r'does not fit the model of the config: backbone\.stem'),
                                ('cut.pth', r'cut\.pth is broken and cannot be read as a checkpoint'),
                                ('no.pth', r'no\.pth does not exist')):
        run = call(test, 'tiny.py', checkpoint, cwd=folder)
        assert run.returncode == 1
        assert re.search(f'^error: .*{message}', run.stdout.splitlines()[-1]), run.stdout[-500:]
    (folder / 'data' / 'val' / 'cat' / 'broken.jpg').write_bytes(b'not a picture')
    for options, message in (((), r'are broken or cut off, such as data.*broken\.jpg'),
                             (('--no-checks', ), r'the image data.*broken\.jpg cannot be decoded; replace')):
        run = call(test, 'tiny.py', 'w/epoch_1.pth', *options, cwd=folder)
        assert re.search(f'^error: .*{message}', run.stdout.splitlines()[-1])
    (folder / 'data' / 'val' / 'cat' / 'broken.jpg').unlink()
    run = call(test, 'tiny.py', 'w/epoch_1.pth', cwd=folder)
    assert re.search(r'accuracy/top1: [\d.]+ +accuracy/top2: [\d.]+', run.stdout)


def test_every_image_is_drawn_in_a_file_of_its_own(folder, tmp_path):
    """Four images of each class have the names of those of the other."""
    test = ROOT / 'tools' / 'test.py'
    run = call(test, 'tiny.py', 'w/epoch_1.pth', '--show-dir', tmp_path / 'drawn', cwd=folder)
    assert run.returncode == 0, run.stdout[-2000:]
    drawn = sorted(str(path.relative_to(tmp_path / 'drawn')) for path in (tmp_path / 'drawn').rglob('*.png'))
    assert drawn == [f'{label}/{index}.png_0.png' for label in ('cat', 'dog') for index in range(4)]
    before = sorted((folder / 'data').rglob('*'))
    (tmp_path / 'link').symlink_to(folder / 'data' / 'val')
    run = call(test, 'tiny.py', 'w/epoch_1.pth', '--show-dir', tmp_path / 'link', cwd=folder)
    assert run.returncode == 1
    assert 'holds the images of the test set' in run.stdout.splitlines()[-1]
    assert sorted((folder / 'data').rglob('*')) == before


@pytest.mark.parametrize(('out', 'message'), [
    ('./w/../weights.pkl', 'weights.pkl is also the input weights.pkl'),
    ('tiny.py/found.pkl', 'tiny.py is not writable'),
])
def test_predictions_are_refused_a_bad_place_before_the_work(out, message, folder):
    shutil.copy(folder / 'w' / 'epoch_1.pth', folder / 'weights.pkl')
    before = (folder / 'weights.pkl').read_bytes()
    run = call(ROOT / 'tools' / 'test.py', 'tiny.py', 'weights.pkl', '--out', out, cwd=folder)
    assert run.returncode == 1 and message in run.stdout.splitlines()[-1] and 'Epoch(test)' not in run.stdout
    assert (folder / 'weights.pkl').read_bytes() == before


def test_a_trained_classifier_starts_a_detector_by_path(folder):
    backbone = MODELS.build(dict(type='MicroNet', arch='m0', init_cfg=dict(
        type='Pretrained', checkpoint=str(folder / 'w' / 'epoch_1.pth'), prefix='backbone.')))
    backbone.init_weights()
    stored = torch.load(folder / 'w' / 'epoch_1.pth')['state_dict']
    assert all(torch.equal(value, stored[f'backbone.{name}']) for name, value in backbone.state_dict().items())


@pytest.mark.slow
def test_digits_demo_reaches_97_percent(tmp_path):
    assert call(ROOT / 'tools' / 'make_digits.py', 'data/digits', cwd=tmp_path).returncode == 0
    run = call(ROOT / 'tools' / 'train.py', DIGITS, '--work-dir', 'w', cwd=tmp_path, timeout=900)
    assert float(re.findall(r'accuracy/top1: ([\d.]+)', run.stdout)[-1]) >= 97.0
