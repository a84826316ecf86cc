"""Weights that are part of the package."""
import hashlib
import re
import shutil

import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import load_checkpoint
from PIL import Image

import micronet_mm
from micronet_mm.checkpoint import CheckpointError, bundled, check_initial_weights, convert_checkpoint
from micronet_mm.checkpoint.bundled import FOLDER, SCHEME, TABLE, bundled_weights
from micronet_mm.checkpoint.reading import read_checkpoint
from micronet_mm.models import MicroNet

ROWS = bundled_weights()
NAME = 'micronet_m0.tiny_imagenet'


@pytest.fixture
def image():
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the files to spoil."""
    copy = shutil.copytree(FOLDER, tmp_path / 'weights')
    monkeypatch.setattr(bundled, 'FOLDER', copy)
    return copy


def test_files_are_those_of_the_table():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted([TABLE, *(row.file for row in ROWS.values())])
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10 * 2**20
    for name, row in ROWS.items():
        assert hashlib.sha256((FOLDER / row.file).read_bytes()).hexdigest() == row.sha256
        content = read_checkpoint(SCHEME + name)
        assert content['meta']['name'] == name and len(content['meta']['dataset_meta']['classes']) == row.num_classes
        assert {value.dtype for value in content['state_dict'].values()} == {torch.float32, torch.int64}
        cfg = Config.fromfile(ROOT / 'configs' / row.config)
        assert cfg.model.backbone.arch == row.arch and cfg.model.head.num_classes == row.num_classes
        assert cfg.train_cfg.max_epochs == row.epochs and row.command == f'micronet-mm train {row.config[:-3]}'
        assert cfg.test_pipeline[1].scale == row.input_size[1:]
        assert (tuple(cfg.data_preprocessor.mean), tuple(cfg.data_preprocessor.std)) == (row.mean, row.std)


@pytest.mark.parametrize('name', ROWS)
def test_every_way_of_loading_gives_the_same_logits(name, image):
    pytest.importorskip('mmpretrain')
    row = ROWS[name]
    init_default_scope('mmpretrain')
    cfg = get_config(f'micronet_mm::{row.config}', pretrained=True)
    theirs = MODELS.build(cfg.model).eval()
    load_checkpoint(theirs, cfg.model_path)
    DefaultScope._instance_dict.clear()
    with torch.no_grad():
        logits = theirs(image)
        ours = [micronet_mm.create_model(name, pretrained=True),
                micronet_mm.create_model(f'micronet_{row.arch}', pretrained=True),
                micronet_mm.create_model(f'micronet_{row.arch}', pretrained=SCHEME + name, num_classes=row.num_classes)]
        for model in ours:
            assert torch.equal(model.eval()(image), logits)
    assert logits.shape == (2, row.num_classes) and logits.std() > 0.1


def test_backbones_are_those_of_the_weights_for_other_classes_too():
    stored = read_checkpoint(SCHEME + NAME)['state_dict']
    for options in (dict(num_classes=3), dict(num_classes=0), dict(features_only=True)):
        model = micronet_mm.create_model('micronet_m0', pretrained=True, **options)
        for key, value in getattr(model, 'model', model).backbone.state_dict().items():
            assert torch.equal(value, stored[f'backbone.{key}'])


def test_timm_knows_the_weights_by_their_tag(image):
    timm = pytest.importorskip('timm')
    import micronet_mm.timm
    assert timm.list_pretrained('micronet_*') == micronet_mm.list_pretrained() == sorted(ROWS)
    with torch.no_grad():
        logits = micronet_mm.create_model(NAME, pretrained=True).eval()(image)
        for model in (timm.create_model(NAME, pretrained=True), timm.create_model('micronet_m0', pretrained=True)):
            assert torch.equal(model.eval()(image), logits)
            assert model.pretrained_cfg['tag'] == 'tiny_imagenet' and model.num_classes == 200
    assert timm.create_model(NAME).num_classes == 200 and timm.create_model('micronet_m0').num_classes == 1000
    data = timm.data.resolve_model_data_config(model)
    assert data['input_size'] == (3, 128, 128) and data['crop_pct'] == 1 and data['crop_mode'] == 'squash'
    assert data['mean'] == pytest.approx((0.485, 0.456, 0.406), abs=1e-3)


def test_backbones_of_any_config_start_from_them():
    cfg = dict(type='MicroNet', arch='m0', init_cfg=dict(type='Pretrained', checkpoint=SCHEME + NAME,
                                                        prefix='backbone.'))
    backbone = MODELS.build(cfg)
    check_initial_weights(backbone)
    backbone.init_weights()
    stored = read_checkpoint(SCHEME + NAME)['state_dict']
    assert all(torch.equal(value, stored[f'backbone.{key}']) for key, value in backbone.state_dict().items())
    with pytest.raises(ValueError, match=r"micronet_mm://micronet_m0\.tiny_imagenet does not fit: "):
        check_initial_weights(MicroNet('m3', init_cfg=cfg['init_cfg']))


@pytest.mark.parametrize('spoil', [
    lambda file: file.write_bytes(file.read_bytes()[:-100]),
    lambda file: file.write_bytes(file.read_bytes()[:5000] + b'x' + file.read_bytes()[5001:]),
    lambda file: file.write_bytes(b''),
    lambda file: file.unlink(),
    lambda file: shutil.copy(file.with_name(TABLE), file),
], ids=['truncated', 'corrupted', 'empty', 'missing', 'exchanged'])
def test_a_file_that_is_not_that_of_the_table_is_refused_in_one_line(spoil, folder):
    spoil(folder / ROWS[NAME].file)
    pattern = r'^\S+/micronet_m0_tiny_imagenet\.safetensors (was changed or truncated: .*|cannot be read .*); reinstall'
    for load in (lambda: read_checkpoint(SCHEME + NAME), lambda: micronet_mm.create_model(NAME, pretrained=True),
                 lambda: load_checkpoint(MicroNet('m0'), SCHEME + NAME)):
        with pytest.raises(CheckpointError, match=pattern) as error:
            load()
        assert '\n' not in str(error.value)


def test_names_that_do_not_exist():
    with pytest.raises(FileNotFoundError, match=rf"no weights 'micronet_m9\.x'; available: {re.escape(NAME)}"):
        read_checkpoint(SCHEME + 'micronet_m9.x')
    with pytest.raises(ValueError, match=r"no bundled weights 'micronet_m0\.imagenet'; available"):
        micronet_mm.create_model('micronet_m0.imagenet')
    with pytest.raises(ValueError, match='pretrained=True: micronet_m1_sharp has no bundled weights; available'):
        micronet_mm.create_model('micronet_m1_sharp', pretrained=True)
    with pytest.raises(ValueError, match=r'imagenet_micronet_m0\.py has no bundled weights'):
        get_config('micronet_mm::imagenet_micronet_m0.py', pretrained=True)


def test_the_converter_knows_that_they_are_not_the_authors(tmp_path):
    with pytest.raises(ValueError, match=rf"holds this package's own weights {re.escape(NAME)}, trained on Tiny-"):
        convert_checkpoint(FOLDER / ROWS[NAME].file, tmp_path / 'new.pth')


def test_commands_take_them(tmp_path):
    pytest.importorskip('mmpretrain')
    run = call('-m', 'micronet_mm_console', 'models', cwd=tmp_path)
    assert run.returncode == 0 and re.search(rf'{re.escape(NAME)} +{ROWS[NAME].top1:.2f} ', run.stdout)
    for index in range(200):
        (tmp_path / 'val' / f'{index:03}').mkdir(parents=True)
    Image.new('RGB', (64, 64)).save(tmp_path / 'val' / '000' / 'a.png')
    config = ROWS[NAME].config.removesuffix('.py')
    run = call('-m', 'micronet_mm_console', 'test', config, SCHEME + NAME, '--cfg-options',
               f'test_dataloader.dataset.data_root={tmp_path}', cwd=tmp_path)
    assert run.returncode == 0 and 'accuracy/top1' in run.stdout, run.stdout[-2000:]
    run = call('-m', 'micronet_mm_console', 'export', config, SCHEME + NAME, 'm0.plan', cwd=tmp_path)
    assert run.returncode == 0 and (tmp_path / 'm0.plan').is_file(), run.stdout[-2000:]
    run = call('-m', 'micronet_mm_console', 'export', config, SCHEME + 'micronet_m0.x', 'x.plan', cwd=tmp_path)
    assert run.returncode == 1 and "error: micronet_mm has no weights" in run.stdout.splitlines()[-1]
