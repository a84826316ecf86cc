"""``tools/train.py`` and ``tools/test.py`` from the outside."""
import ast
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from mm import DEMO, ROOT, call, write_config

from micronet_mm.datasets import write_figures

TRAIN, TEST = ROOT / 'tools' / 'train.py', ROOT / 'tools' / 'test.py'
RETINANET = ROOT / 'configs' / 'retinanet_micronet_m3.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=16, num_val=4)
    return root


@pytest.mark.parametrize(('command', 'message'), [
    ([TRAIN, 'configs/nothing.py'], r'the config configs/nothing\.py does not exist; name a file'),
    ([TRAIN, RETINANET], r'data/coco/ does not exist, which the dataset of train_dataloader needs\. Download'),
    ([TRAIN, DEMO], r'data/figures/ does not exist, which the dataset of train_dataloader needs\.'),
    ([TEST, RETINANET, 'x.pth'], r'data/coco/ does not exist, which the dataset of test_dataloader needs\.'),
    ([TRAIN, RETINANET, '--cfg-options', 'train_dataloader.dataset.pipeline.99.type=X'], r'--cfg-options does not fit'),
    ([TRAIN, DEMO, '--auto-scale-lr', '--cfg-options', 'auto_scale_lr=None'], r'--auto-scale-lr needs auto_scale_lr='),
    pytest.param([TRAIN, DEMO, '--amp', 'fp16'], '--amp fp16 needs an accelerator',
                 marks=pytest.mark.skipif(torch.cuda.is_available(), reason='with an accelerator --amp is fine')),
])
def test_a_mistake_gets_one_line(command, message, tmp_path):
    run = call(*command, cwd=tmp_path)
    lines = run.stdout.splitlines()
    assert run.returncode == 1
    assert [line for line in lines if line.startswith('error: ')] == lines[-1:]
    assert re.search(message, lines[-1])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(('text', 'message'), [
    ('model = dict(', r'the config broken\.py cannot be read'),
    ("_base_ = 'nope.py'", r'the config broken\.py cannot be read: .*nope\.py'),
    ("_base_ = 'nohost::_base_/models/a.py'", 'does not support to load nohost config'),
])
def test_a_broken_config_gets_one_line(text, message, tmp_path):
    (tmp_path / 'broken.py').write_text(text)
    run = call(TRAIN, 'broken.py', cwd=tmp_path)
    assert run.returncode == 1
    assert re.search(f'^error: .*{message}', run.stdout.splitlines()[-1])


def test_a_dataset_that_downloads_itself_is_left_alone():
    from mmengine.config import Config

    from micronet_mm.engine.checks.paths import check_files
    cifar = dict(dataset=dict(type='CIFAR10', data_root='no/such/folder'))
    check_files(Config(dict(default_scope='mmpretrain', train_dataloader=cifar)), ['train_dataloader'], [])
    cifar['dataset']['download'] = False
    with pytest.raises(FileNotFoundError, match='no/such/folder'):
        check_files(Config(dict(default_scope='mmpretrain', train_dataloader=cifar)), ['train_dataloader'], [])


def test_mmpose_s_name_for_a_data_preprocessor_is_known(tmp_path, monkeypatch):
    from micronet_mm.engine.cli import common_parser, load_config
    monkeypatch.setenv('LOCAL_RANK', '0')
    (tmp_path / 'named.py').write_text("preprocess_cfg = dict(type='A')\nmodel = dict(type='B')")
    cfg = load_config(common_parser('').parse_args([str(tmp_path / 'named.py')]))
    assert cfg.model.data_preprocessor == dict(type='A') and cfg.work_dir == 'work_dirs/named'


@pytest.mark.parametrize(('text', 'arguments', 'message'), [
    ("model = dict(backbone=dict(init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='no.pth')))", [],
     r'no\.pth does not exist, which the initialization .* Convert the released weights'),
    ('', ['--resume', 'no.pth'], r'no\.pth does not exist, which load_from needs'),
    ('', ['--cfg-options', 'train_dataloader.dataset.ann_file=annotations/no.json'],
     r'figures/annotations/no\.json does not exist, which the dataset of train_dataloader'),
    ('', ['--cfg-options', 'val_evaluator.ann_file=no.json'], r'no\.json does not exist, which val_evaluator needs'),
    ("custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)", [],
     "Failed to import no_such_module: No module named 'no_such_module'. Correct custom_imports, or .* PYTHONPATH"),
])
def test_a_missing_file_gets_one_line(text, arguments, message, data, tmp_path):
    config = write_config(tmp_path / 'tiny.py', data, text)
    run = call(TRAIN, config, *arguments, cwd=tmp_path)
    assert run.returncode == 1
    assert re.search(f'^error: .*{message}', run.stdout.splitlines()[-1])


def test_train_then_test(data, tmp_path):
    config = write_config(tmp_path / 'tiny.py', data, '''
train_cfg = dict(max_epochs=1, val_interval=1)
model = dict(test_cfg=dict(score_thr=0.0))  # an untrained detector must find something
''')
    run = call(TRAIN, config, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    work_dir = tmp_path / 'work_dirs' / 'tiny'  # named after the config
    # The file that training started from is not needed any more.
    gone = "model = dict(backbone=dict(init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='gone.pth')))"
    (tmp_path / 'gone.py').write_text(f"_base_ = './tiny.py'\n{gone}")
    run = call(TEST, 'gone.py', work_dir / 'epoch_1.pth', '--out', 'found.pkl', '--show-dir', 'drawn', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'coco/bbox_mAP_50' in run.stdout
    assert (tmp_path / 'found.pkl').stat().st_size > 0
    assert len(list((tmp_path / 'drawn').iterdir())) == 4


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_weights(data, tmp_path):
    """SIGKILL in the middle, then --resume: bit for bit what an unbroken run of the same seed gives."""
    config = write_config(
        tmp_path / 'tiny.py', data, '''
train_cfg = dict(max_epochs=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=9, save_best=None), logger=dict(interval=1))
randomness = dict(seed=None, deterministic=True)  # MMEngine draws a seed and stores it
''')
    env = dict(os.environ, OMP_NUM_THREADS='1')
    killed = subprocess.Popen([sys.executable, TRAIN, config, '--work-dir', 'killed'], cwd=tmp_path, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in killed.stdout:
        if re.search(r'Epoch\(train\) *\[3\]\[ *[2-7]/8\]', line):  # epoch 2 is saved, epoch 3 under way
            killed.send_signal(signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / 'killed' / 'epoch_3.pth').exists()
    seed = torch.load(tmp_path / 'killed' / 'epoch_2.pth', weights_only=True)['meta']['seed']

    run = call(TRAIN, config, '--work-dir', 'killed', '--resume', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'resumed epoch: 2' in run.stdout
    run = call(TRAIN, config, '--work-dir', 'unbroken', '--cfg-options', f'randomness.seed={seed}', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]

    unbroken, resumed = (torch.load(tmp_path / name / 'epoch_4.pth') for name in ('unbroken', 'killed'))
    assert unbroken['meta']['iter'] == resumed['meta']['iter'] == 32
    for key, value in unbroken['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key
    for index, state in unbroken['optimizer']['state'].items():
        for name, value in state.items():
            assert torch.equal(value, resumed['optimizer']['state'][index][name])


def test_tools_set_how_threads_wait_before_pytorch_is_loaded_and_never_against_the_user():
    for tool in sorted((ROOT / 'tools').glob('[a-z]*.py')):
        nodes = ast.parse(tool.read_text()).body
        names = [node.names[0].name if isinstance(node, ast.Import) else node.module for node in nodes
                 if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = [name for name in names if name.partition('.')[0] not in sys.stdlib_module_names]
        assert names[:1] == ['_process'] or not {name.partition('.')[0] for name in names} & {
            'micronet_mm', 'mmcv', 'mmengine', 'torch'}, tool
    show = 'import _process, os; print(*[os.environ.get(key) for key in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")])'
    plain = {key: value for key, value in os.environ.items() if key not in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')}
    for given, expected in (({}, 'None 1000'), (dict(OMP_WAIT_POLICY='active'), 'active None'),
                            (dict(GOMP_SPINCOUNT='5'), 'None 5')):
        run = subprocess.run([sys.executable, '-c', show], cwd=ROOT / 'tools', env={**plain, **given},
                             capture_output=True, text=True)
        assert run.stdout.strip() == expected


STEPS = """
import _process, resource, torch
from micronet_mm.models import MicroNet
backbone, images = MicroNet('m3'), torch.rand(1, 3, 320, 320)
faults = []
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    backbone(images)[-1].sum().backward()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults[4:])[4])
"""


def test_tools_keep_the_memory_that_a_step_needs_again_unless_the_user_decides():
    plain = {key: value for key, value in os.environ.items() if not key.startswith('MALLOC_')}
    kept, returned = (int(subprocess.run([sys.executable, '-c', STEPS], cwd=ROOT / 'tools', env={**plain, **given},
                                         capture_output=True, text=True).stdout)
                      for given in ({}, dict(MALLOC_TRIM_THRESHOLD_='0')))
    assert kept < 1000 < returned  # pages
