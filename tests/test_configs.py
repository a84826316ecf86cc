"""Configs by name, in both styles of MMEngine, and in the index for mim."""
import pytest
import yaml
from mm import ROOT, call
from PIL import Image

from micronet_mm import __version__
from micronet_mm.analysis.model_index import FAMILIES, family_of
from micronet_mm.bundled_configs import config_names, find_config, packaged_config, shipped

MODEL_INDEX = ROOT / 'tools' / 'model_index.py'


# ---- By name.

def test_configs_are_found_by_path_and_by_name(tmp_path, monkeypatch):
    retinanet = shipped('configs') / 'retinanet_micronet_m3.py'
    monkeypatch.chdir(tmp_path)
    for given in (retinanet, 'retinanet_micronet_m3', 'micronet_mm::retinanet_micronet_m3',
                  'micronet_mm::retinanet_micronet_m3.py'):
        assert find_config(given) == retinanet
    assert find_config('demo/micro_det_m3_demo') == shipped('configs') / 'demo' / 'micro_det_m3_demo.py'
    assert packaged_config('micronet_mm::_base_/robust.py').name == 'robust.py'
    (tmp_path / 'retinanet_micronet_m3').write_text('')  # a file of the user's comes first
    assert find_config('retinanet_micronet_m3').read_text() == ''


@pytest.mark.parametrize(('given', 'nearest'), [
    ('retinanet_m3', 'retinanet_micronet_m3'), ('micronet_mm::microdet_m0.py', 'micro_det_m0'),
    ('retinanet_micronet_m3.py', 'retinanet_micronet_m3'), ('configs/keypoint_micronet.py', 'keypoint_micronet_m3'),
    ('', 'the config  does not exist'),
])
def test_a_wrong_name_is_answered_with_the_nearest(given, nearest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=nearest) as error:
        find_config(given)
    assert '\n' not in str(error.value)


def test_the_work_dir_is_named_after_the_config(monkeypatch, tmp_path):
    from micronet_mm.engine.cli import common_parser, load_config
    monkeypatch.setenv('LOCAL_RANK', '0')
    args = common_parser('').parse_args(['micronet_mm::retinanet_micronet_m3.py'])
    assert load_config(args).work_dir == 'work_dirs/retinanet_micronet_m3'


BASES = """
_base_ = ['micronet_mm::retinanet_micronet_m3.py']
work_dir = _base_.data_root
"""
# In the order of programs: MMEngine first, as in mmdet's tools, or PyTorch.
ORDERS = {'MMEngine first': 'import mmengine.config, torch', 'PyTorch first': 'import torch, mmengine.config',
          'with the hub': 'import torch, mmengine.hub'}


@pytest.mark.parametrize('order', ORDERS)
def test_mmengine_finds_them_as_bases(order, tmp_path):
    pytest.importorskip('mmdet')
    (tmp_path / 'mine.py').write_text(BASES)
    (tmp_path / 'wrong.py').write_text("_base_ = 'micronet_mm::retinanet_m3.py'")
    run = call('-W', 'ignore', '-c', f'''
{ORDERS[order]}
import micronet_mm  # an environment may know the package by its path alone, and not load it with PyTorch
from mmengine.config import Config
cfg = Config.fromfile('mine.py')
print(cfg.work_dir, cfg.model.backbone.type, cfg.model._scope_, '_scope_' in cfg.model.backbone)
try:
    Config.fromfile('wrong.py')
except FileNotFoundError as error:
    print(error)
from mmengine.hub import get_config
print(get_config('micronet_mm::micro_det_m3.py').model.type)
print(get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model.backbone.type)
''', cwd=tmp_path)
    assert run.stdout.splitlines() == [
        'data/coco/ MicroNet mmdet False',
        'micronet_mm has no config retinanet_m3; the nearest are retinanet_micronet_m3, retinanet_micronet_m2, '
        'demo/retinanet_micronet_m3_demo.', 'GFL', 'ResNet']


def test_mmengine_is_taught_without_being_imported():
    code = ('import sys, torch, micronet_mm_autoload; micronet_mm_autoload.autoload()\n'
            'print([name for name in ("mmengine", "micronet_mm") if name in sys.modules])')
    run = call('-c', code, cwd=ROOT, apart=True, cold=True)
    assert run.stdout == '[]\n', run.stderr


# ---- In MMEngine's pure-Python style.

PURE_CONFIG = """
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.datasets import CustomDataset, PackInputs
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from torch.optim import SGD

from micronet_mm.datasets import LoadImageOrSkip
from micronet_mm.engine.hooks import SafeCheckpointHook
from micronet_mm.models import MicroNet, MicroNetClsHead

default_scope = 'mmpretrain'
model = dict(
    type=ImageClassifier,
    data_preprocessor=dict(type=ClsDataPreprocessor, mean=[127.0] * 3, std=[64.0] * 3, num_classes=2),
    backbone=dict(type=MicroNet, arch='m0'),
    head=dict(type=MicroNetClsHead, num_classes=2, in_channels=384, hidden_channels=640))
train_dataloader = dict(batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(
    type=CustomDataset, data_root='data', pipeline=[dict(type=LoadImageOrSkip), dict(type=PackInputs)]))
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1))
default_hooks = dict(logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type=SafeCheckpointHook))
randomness = dict(seed=0)
"""


def test_a_pure_python_config_names_our_classes(tmp_path):
    pytest.importorskip('mmpretrain')
    for label in 'ab':
        (tmp_path / 'data' / label).mkdir(parents=True)
        Image.effect_noise((32, 32), 64).convert('RGB').save(tmp_path / 'data' / label / 'image.png')
    (tmp_path / 'pure.py').write_text(PURE_CONFIG)
    code = ('from mmengine.config import Config\nfrom mmengine.runner import Runner\n'
            "cfg = Config.fromfile('pure.py')\ncfg.work_dir = 'mmengine'\nRunner.from_cfg(cfg).train()")
    losses = []
    ours = [ROOT / 'tools' / 'train.py', 'pure.py', '--work-dir', 'ours']
    for command in (['-W', 'ignore', '-c', code], ours):
        run = call(*command, cwd=tmp_path)
        assert run.returncode == 0, run.stdout[-2000:]
        losses.append([line.partition(' loss: ')[2] for line in run.stdout.splitlines() if ' loss: ' in line])
    assert len(losses[0]) == 1 and losses[0] == losses[1]
    assert (tmp_path / 'mmengine' / 'epoch_1.pth').exists() and (tmp_path / 'ours' / 'epoch_1.pth').exists()


# ---- The index for mim.

def entries():
    """Every entry of the metafiles that model-index.yml names."""
    for path in yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']:
        yield from yaml.safe_load((ROOT / path).read_text())['Models']


def test_every_config_is_in_the_index():
    found = list(entries())
    assert sorted(entry['Config'] for entry in found) == sorted(f'configs/{name}.py' for name in config_names())
    assert len({entry['Name'] for entry in found}) == len(found)  # mim asks by name
    for entry in found:
        assert set(entry) <= {'Name', 'In Collection', 'Config', 'Metadata', 'Results', 'Weights'}
        assert set(entry['Metadata']) == {'Parameters', 'Multiply-Adds', 'Input Size'}
        for result in entry.get('Results', ()):
            is_paper = {name.endswith('(the paper)') for name in result['Metrics']}
            assert is_paper == {'Weights' not in entry}  # ours have weights


def test_accuracies_are_those_of_the_tables():
    metrics = {entry['Name']: entry['Results'][0]['Metrics'] for entry in entries() if 'Results' in entry}
    assert metrics['imagenet_micronet_m2'] == {'Top 1 Accuracy (the paper)': 59.4}  # of Table 7, not of the ablations
    assert metrics['retinanet_micronet_m3'] == {'box AP (the paper)': 25.4}
    assert metrics['keypoint_micronet_m3'] == {'AP (the paper)': 58.7}
    assert 'micro_det_m3' not in metrics and 'retinanet_micronet_m2' not in metrics


@pytest.mark.parametrize('families', [
    ['imagenet'], pytest.param([name for name in FAMILIES if name != 'imagenet'], marks=pytest.mark.slow)])
def test_costs_are_counted(families, tmp_path):
    for host in ('mmdet', 'mmpose', 'mmpretrain'):
        pytest.importorskip(host)
    run = call('-W', 'ignore', MODEL_INDEX, '--out-dir', '.', '--only', *families, cwd=tmp_path, timeout=900)
    assert run.returncode == 0, run.stdout[-2000:]
    written = [file.relative_to(tmp_path) for file in tmp_path.rglob('*.yml')]
    assert len(written) == len(families) + 1
    for path in written:
        assert (tmp_path / path).read_text() == (ROOT / path).read_text(), "run 'make tables'"


def test_a_config_of_no_family_is_said():
    with pytest.raises(ValueError, match=r'configs/segmentation_m3\.py is of no family'):
        family_of('segmentation_m3')


def test_the_changelog_knows_the_version():
    assert f'\n## {__version__}' in (ROOT / 'CHANGELOG.md').read_text()
