"""Configs by name, in both styles of MMEngine, and in the index that mim reads."""
import pytest
import yaml
from mm import ROOT, call
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from test_recipes import unscoped

from micronet_mm import __version__
from micronet_mm.analysis.model_index import FAMILIES, family_of
from micronet_mm.datasets import write_figures
from micronet_mm.engine.cli import read_config
from micronet_mm.packaged import PACKAGE, config_names, find_config, packaged_config, shipped

# What MMEngine's Runner and our commands read of a config.
READ = ('model', 'data_preprocessor', 'default_scope', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr',
        'default_hooks', 'custom_hooks', 'env_cfg', 'visualizer', 'log_processor', 'log_level', 'load_from', 'resume',
        'randomness',
        *(f'{phase}_{part}' for phase in ('train', 'val', 'test') for part in ('dataloader', 'cfg', 'evaluator')))
PURE = dict(imagenet_micronet_m3='mmpretrain', retinanet_micronet_m3='mmdet', faster_rcnn_micronet_m3='mmdet',
            micro_det_m3='mmdet', keypoint_micronet_m3='mmpose')
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

@pytest.mark.parametrize('name', PURE)
def test_both_styles_say_the_same(name):
    pytest.importorskip(PURE[name])
    text = unscoped(Config.fromfile(packaged_config(name)).to_dict())
    pure = read_config(PACKAGE / 'configs' / f'{name}.py').to_dict()  # names where it has classes
    for key in READ:
        assert pure.get(key) == text.get(key), key
    assert set(pure) - set(text) <= {'meta_keys'}


@pytest.mark.parametrize('name', PURE)
def test_classes_are_those_that_names_mean(name):
    pytest.importorskip(PURE[name])
    pure = Config.fromfile(PACKAGE / 'configs' / f'{name}.py')
    text = read_config(packaged_config(name))
    models = []
    for cfg in (pure, text):
        cfg.model.backbone.init_cfg = None
        with DefaultScope.overwrite_default_scope(PURE[name]):
            models.append(MODELS.build(cfg.model))
    assert str(models[0]) == str(models[1])
    assert isinstance(pure.model.type, type) and type(models[0]) is pure.model.type


PURE_CONFIG = """
from mmdet.datasets.transforms import Resize
from mmengine.config import read_base
with read_base():
    from micronet_mm.configs.retinanet_micronet_m3 import *

small = dict(type=Resize, scale=(64, 64), keep_ratio=True)
train_dataloader.merge(dict(batch_size=2, num_workers=0, persistent_workers=False, batch_sampler=None))
train_dataloader.dataset.merge(dict(
    data_root={data!r}, ann_file='annotations/train.json', data_prefix=dict(img='train/'),
    metainfo=dict(classes=('person', 'disc', 'square', 'triangle'))))
train_dataloader.dataset.pipeline[2] = small
model.backbone.init_cfg = None
model.bbox_head.num_classes = 4
train_cfg = dict(by_epoch=False, max_iters=1)
val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None
log_processor.by_epoch = False
default_hooks.logger.interval = 1
default_hooks.checkpoint.merge(dict(by_epoch=False, save_best=None))
randomness = dict(seed=0)
"""


def test_a_pure_config_of_a_user_trains_in_mmengine_and_here(tmp_path):
    pytest.importorskip('mmdet')
    write_figures(tmp_path / 'figures', num_train=4, num_val=2)
    (tmp_path / 'pure.py').write_text(PURE_CONFIG.format(data=f'{tmp_path}/figures/'))
    code = ('from mmengine.config import Config\nfrom mmengine.runner import Runner\n'
            "cfg = Config.fromfile('pure.py')\ncfg.work_dir = 'mmengine'\nRunner.from_cfg(cfg).train()")
    losses = []
    ours = [ROOT / 'tools' / 'train.py', 'pure.py', '--work-dir', 'ours']
    for command in (['-W', 'ignore', '-c', code], ours):
        run = call(*command, cwd=tmp_path)
        assert run.returncode == 0, run.stdout[-2000:]
        losses.append([line.partition(' loss: ')[2] for line in run.stdout.splitlines() if ' loss: ' in line])
    assert len(losses[0]) == 1 and losses[0] == losses[1]
    assert (tmp_path / 'mmengine' / 'iter_1.pth').exists() and (tmp_path / 'ours' / 'iter_1.pth').exists()


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
