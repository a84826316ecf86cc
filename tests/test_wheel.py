"""The wheel by itself, away from the repository: it has what is needed to train, and MMEngine and mim find it."""
import os
import re
import shutil
import subprocess
import sys
from email import message_from_bytes
from zipfile import ZipFile

import pytest
import yaml
from mm import ROOT, SOURCES, write_config

from micronet_mm import __version__
from micronet_mm.bundled_configs import config_names
from micronet_mm.datasets import write_figures

pytest.importorskip('mmdet')

COMMANDS = ['train', 'test', 'export', 'find-poses', 'flops', 'convert', 'models']


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp('source')  # building leaves files behind
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, source)
    folder = tmp_path_factory.mktemp('wheel')
    pip('wheel', '.', '--no-deps', '--no-build-isolation', '--wheel-dir', folder, cwd=source)
    return next(folder.glob('micronet_mm-*.whl'))


@pytest.fixture(scope='module')
def target(wheel, tmp_path_factory):
    """A folder of installed packages with nothing but the wheel in it."""
    folder = tmp_path_factory.mktemp('target')
    pip('install', wheel, '--no-deps', '--target', folder, cwd=folder)
    return folder


def pip(*arguments, cwd):
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', *map(str, arguments)]
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture
def call(target, tmp_path):
    """Runs a Python program in an empty folder; what the wheel holds comes before what is installed."""

    def run(*command, timeout=300):
        env = {**os.environ, 'PYTHONPATH': str(target), 'OMP_NUM_THREADS': '1'}
        return subprocess.run([sys.executable, '-W', 'ignore', *map(str, command)], cwd=tmp_path, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    return run


@pytest.fixture
def console(call, target):
    return lambda *arguments, **kwargs: call(target / 'bin' / 'micronet-mm', *arguments, **kwargs)


def mmdet_tool(name):
    import mmdet
    return f'{mmdet.__path__[0]}/.mim/tools/{name}.py'


def test_it_holds_what_mmlab_s_packages_hold(wheel):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(f'micronet_mm-{__version__}.dist-info/METADATA'))
        assert archive.read('micronet_mm/.mim/CHANGELOG.md') == (ROOT / 'CHANGELOG.md').read_bytes()
    assert metadata['Version'] == __version__
    inside = {name.removeprefix('micronet_mm/.mim/') for name in names if name.startswith('micronet_mm/.mim/')}
    beside = {str(file.relative_to(ROOT)) for folder in ('configs', 'tools') for file in (ROOT / folder).rglob('*')
              if file.is_file() and file.suffix != '.pyc'}
    assert inside == beside | {'model-index.yml', 'CHANGELOG.md'}
    packages = {str(file.relative_to(ROOT)) for folder in ('micronet_mm', 'micronet_runtime', 'micronet_web')
                for file in (ROOT / folder).rglob('*') if file.suffix in ('.py', '.cpp', '.c', '.h', '.typed')}
    assert packages <= names and 'micronet_mm/py.typed' in packages and 'micronet_runtime/py.typed' in packages
    assert not any('__pycache__' in name or name.startswith('tests/') for name in names)


def test_its_modules_are_those_that_run(call, target):
    run = call('-c', 'import torch, sys; print("mmengine" in sys.modules)\n'
                     'import micronet_mm, micronet_mm_autoload, micronet_mm_console, micronet_runtime as runtime\n'
                     'for m in (micronet_mm, micronet_mm_autoload, micronet_mm_console, runtime): print(m.__file__)\n'
                     'from micronet_mm.bundled_configs import shipped; print(shipped("configs"))')
    first, *files = run.stdout.splitlines()
    assert first == 'False'  # PyTorch is imported without MMEngine
    assert len(files) == 5 and all(file.startswith(f'{target}/') for file in files), run.stdout


def test_the_console_command_lists_what_there_is(console):
    run = console('--help')
    assert run.returncode == 0 and run.stdout == console().stdout
    lines = [line.split(None, 1) for line in run.stdout.splitlines() if line.startswith('  ')]
    assert [name for name, _ in lines] == COMMANDS and all(said.endswith('.') for _, said in lines)
    assert console('--version').stdout == f'{__version__}\n'
    run = console('trian', 'x.py')
    assert run.returncode == 1 and len(run.stdout.splitlines()) == 1
    assert run.stdout.startswith("error: micronet-mm has no command 'trian';") and 'train is the nearest' in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_says_how_it_is_called(console, command):
    run = console(command, '--help')
    assert run.returncode == 0 and run.stdout.startswith(f'usage: micronet-mm {command} '), run.stdout


@pytest.mark.slow
@pytest.mark.parametrize(('given', 'said'), [
    ('imagenet_micronet_m0', r'^imagenet_micronet_m0 at 224 x 224: 1,019,590 parameters, 4,054,128 multiply-adds$'),
    ('micronet_mm::imagenet_micronet_m0.py', ' 1,019,590 parameters'),
    ('imagenet_m0', r'^error: the config imagenet_m0 does not exist; .* imagenet_micronet_m0'),
    ('mine.py', ' 1,019,590 parameters'),
])
def test_configs_of_the_wheel_go_by_name(console, tmp_path, given, said):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'mine.py').write_text("_base_ = 'micronet_mm::imagenet_micronet_m0.py'\n")
    assert re.search(said, console('flops', given).stdout, re.M)


TINY = '''
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
model = dict(test_cfg=dict(score_thr=0.0))  # an untrained detector must find something
'''


@pytest.mark.slow
def test_a_user_s_config_trains_by_the_console_and_by_mmdet(console, call, target, tmp_path):
    write_figures(tmp_path / 'figures', num_train=8, num_val=2)
    write_config(tmp_path / 'mine.py', tmp_path / 'figures', TINY,
                 base='micronet_mm::demo/retinanet_micronet_m3_demo.py')
    losses = []
    for trained, folder in ((console('train', 'mine.py', '--work-dir', 'ours'), 'ours'),
                            (call(mmdet_tool('train'), 'mine.py', '--work-dir', 'mmdet'), 'mmdet')):
        assert trained.returncode == 0, trained.stdout[-2000:]
        assert str(ROOT) not in trained.stdout  # neither configs nor modules of the repository
        assert (tmp_path / folder / 'epoch_1.pth').exists()
        losses.append(re.findall(r' loss: [\d.]+', trained.stdout))
    assert len(losses[0]) == 4 and losses[0] == losses[1]
    for tested in (console('test', 'mine.py', 'ours/epoch_1.pth', '--work-dir', 'tested'),
                   call(mmdet_tool('test'), 'mine.py', 'ours/epoch_1.pth', '--work-dir', 'tested')):
        assert tested.returncode == 0 and 'coco/bbox_mAP_50' in tested.stdout, tested.stdout[-2000:]


@pytest.mark.slow
def test_its_tools_run_as_mim_runs_them(call, target, tmp_path):
    run = call(target / 'micronet_mm' / '.mim' / 'tools' / 'train.py', 'nothing_m3.py')
    assert run.returncode == 1 and run.stdout.startswith('error: the config nothing_m3.py does not exist; name a file')


def test_mim_lists_its_models(call):
    pytest.importorskip('mim')
    run = call('-c', 'from mim.commands.search import get_model_info\n'
                     'found = get_model_info("micronet-mm", models=["micronet"])\n'
                     'print(*[found.loc["imagenet_micronet_m3", name] for name in ("parameters", "multiply-adds")])\n'
                     'print(len(get_model_info("micronet-mm")), "weight" in found)')
    metafile = yaml.safe_load((ROOT / 'configs' / 'metafiles' / 'imagenet.yml').read_text())
    cost = next(each['Metadata'] for each in metafile['Models'] if each['Name'] == 'imagenet_micronet_m3')
    assert run.stdout.splitlines()[-2:] == [
        f'{cost["Parameters"]} {cost["Multiply-Adds"]}', f'{len(config_names())} False'], run.stdout
