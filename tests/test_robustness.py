"""Training that survives: each fault is done for real."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mm import call
from toy import ENV, TRAIN, assert_same_training_state, last_line, train, write_toy

from micronet_mm.datasets.loading import note_skipped
from micronet_mm.engine.cli import described


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    """epoch_3.pth of a run that nothing happened to: 6 iterations an epoch."""
    folder = tmp_path_factory.mktemp('unbroken')
    write_toy(folder)
    assert train(folder).returncode == 0
    return folder / 'w' / 'epoch_3.pth'


@pytest.mark.parametrize('at', [6, 9])
def test_sigterm_loses_nothing(at, unbroken, tmp_path):
    """In the middle of an epoch and at its very end."""
    write_toy(tmp_path, f"custom_hooks = _base_.custom_hooks + [dict(type='SignalHook', number='SIGTERM', at={at})]")
    run = train(tmp_path)
    assert run.returncode == 128 + signal.SIGTERM, run.stdout[-2000:]
    assert f'w/interrupted.pth after iteration {at}; nothing is lost. Go on with' in run.stdout
    write_toy(tmp_path)
    run = train(tmp_path, '--resume')
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'resumed epoch' in run.stdout
    assert_same_training_state(unbroken, tmp_path / 'w' / 'epoch_3.pth')


def test_sigterm_waits_for_accumulated_gradients(tmp_path):
    write_toy(tmp_path, """
optim_wrapper = dict(accumulative_counts=3)
custom_hooks = _base_.custom_hooks + [dict(type='SignalHook', number='SIGTERM', at=1)]
""")
    assert 'w/interrupted.pth after iteration 3; nothing is lost' in train(tmp_path).stdout


@pytest.mark.slow
def test_sigterm_in_an_evaluation_loses_the_evaluation(tmp_path):
    text = '''
val_dataloader = dict(
    batch_size=4, num_workers=0, dataset=_base_.dataset, sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='ToyMetric')
val_cfg = dict(type='ValLoop')
custom_hooks = _base_.custom_hooks + [dict(type='EMAHook', momentum=0.5)]
'''
    write_toy(tmp_path, text + "custom_hooks += [dict(type='SignalHook', number='SIGTERM', at=2, phase='val')]")
    run = train(tmp_path)
    assert 'after iteration 12; the evaluation under way is lost' in run.stdout, run.stdout[-2000:]
    write_toy(tmp_path, text)
    assert train(tmp_path, '--resume').returncode == 0
    assert train(tmp_path, work_dir='unbroken').returncode == 0
    assert_same_training_state(tmp_path / 'unbroken' / 'epoch_3.pth', tmp_path / 'w' / 'epoch_3.pth')


def test_kill_while_a_checkpoint_is_written(tmp_path):
    write_toy(tmp_path, '''
model = dict(ballast=40_000_000)  # 160 MB, so that writing takes a while
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
''', images=4)
    run = subprocess.Popen([sys.executable, TRAIN, 'toy_config.py', '--work-dir', 'w'], cwd=tmp_path, env=ENV,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work_dir = tmp_path / 'w'
    while run.poll() is None:
        if (work_dir / 'epoch_1.pth').exists() and any(work_dir.glob('.epoch_*.pth.*')):
            run.send_signal(signal.SIGKILL)
        time.sleep(0.002)
    assert run.returncode == -signal.SIGKILL
    assert any(work_dir.glob('.epoch_*.pth.*')), 'it was not killed while writing'
    whole = [torch.load(path)['meta']['epoch'] for path in work_dir.glob('epoch_*.pth')]
    assert whole
    write_toy(tmp_path, f'''
model = dict(ballast=40_000_000)
train_cfg = dict(max_epochs={max(whole) + 1})
''', images=4)
    run = train(tmp_path, '--resume')
    assert run.returncode == 0 and f'resumed epoch: {max(whole)}' in run.stdout, run.stdout[-2000:]
    assert not any(work_dir.glob('.epoch_*.pth.*'))


def test_a_truncated_checkpoint_is_passed_over(unbroken, tmp_path):
    write_toy(tmp_path)
    (tmp_path / 'w').mkdir()
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / 'w' / name).write_bytes((unbroken.parent / name).read_bytes())
        time.sleep(0.02)
    (tmp_path / 'w' / 'last_checkpoint').write_text('w/epoch_2.pth')
    os.truncate(tmp_path / 'w' / 'epoch_2.pth', 100_000)

    run = train(tmp_path, '--resume', 'w/epoch_2.pth')
    assert run.returncode == 1
    assert last_line(run).startswith('error: w/epoch_2.pth is broken and cannot be read as a checkpoint: ')

    run = train(tmp_path, '--resume')
    assert run.returncode == 0, run.stdout[-2000:]
    assert re.search(r'passed over: .*w/epoch_2\.pth is broken', run.stdout)
    assert 'resumed epoch: 1' in run.stdout
    assert_same_training_state(unbroken, tmp_path / 'w' / 'epoch_3.pth')

    for path in (tmp_path / 'w').glob('*.pth'):
        os.truncate(path, 1000)
    run = train(tmp_path, '--resume')
    assert run.returncode == 1
    assert re.match(r'error: .*w/epoch_3\.pth is broken .* newest of 3 in .*w, and none can be resumed from: restore '
                    'a checkpoint from a copy, or name another checkpoint', last_line(run))


@pytest.mark.parametrize('workers', [0, 2])
def test_broken_images_are_skipped_and_counted(workers, tmp_path):
    cut, gone = tmp_path / 'images' / '03.jpg', tmp_path / 'images' / '08.jpg'
    write_toy(tmp_path, f'''
custom_hooks = [dict(type='BrokenImageHook'), dict(type='DeleteHook', path={str(gone)!r})]
train_dataloader = dict(num_workers={workers})
train_cfg = dict(max_epochs=1)
''')
    os.truncate(cut, cut.stat().st_size // 2)
    run = train(tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'images/03.jpg cannot be decoded and is skipped' in run.stdout
    assert '08.jpg does not exist and is skipped' in run.stdout
    assert re.search(r'WARNING - [2-5] of 24 images were broken and skipped in epoch 1', run.stdout)


def test_too_many_broken_images_end_the_run(tmp_path):
    write_toy(tmp_path, "custom_hooks = [dict(type='BrokenImageHook', max_share=0.05, spare=0)]")
    for index in (3, 5):
        os.truncate(tmp_path / 'images' / f'{index:02}.jpg', 700)
    run = train(tmp_path)
    assert run.returncode == 1
    assert re.match(r'error: [2-4] broken images were skipped in epoch 1, and of 24 only 1 may be', last_line(run))


@pytest.mark.parametrize('workers', [0, 2])
def test_an_image_counts_once_however_often_it_is_drawn(workers, tmp_path):
    """Without epochs a run passes through the images again and again."""
    write_toy(tmp_path, f'''
custom_hooks = [dict(type='BrokenImageHook', spare=1)]
train_dataloader = dict(num_workers={workers}, sampler=dict(_delete_=True, type='InfiniteSampler'))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=12)
param_scheduler = dict(by_epoch=False)
default_hooks = dict(checkpoint=dict(by_epoch=False))
''', images=8)
    os.truncate(tmp_path / 'images' / '03.jpg', 700)
    run = train(tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    os.truncate(tmp_path / 'images' / '05.jpg', 700)
    run = train(tmp_path)
    assert re.match(r'error: 2 broken images were skipped up to iteration \d+, and of 8 only 1 may be', last_line(run))


def test_the_table_of_skipped_images_may_run_full():
    table = torch.zeros(4, dtype=torch.int64)
    for name in 'abcabcdefdef':
        note_skipped(name, table)
    assert len(set(table.tolist()) - {0}) == 4


def test_nan_weights_stop_the_run_and_keep_the_checkpoint(tmp_path):
    write_toy(tmp_path, "custom_hooks = _base_.custom_hooks + [dict(type='PoisonHook', at=9)]")
    run = train(tmp_path)
    assert run.returncode == 1
    message = last_line(run)
    assert re.match(r'error: loss is nan at iteration 9 \(epoch 2\), learning rate 0\.002; the last good checkpoint, '
                    r'.*w/epoch_1\.pth, is kept', message), message
    assert len(re.findall(r'images/\d\d\.jpg', message)) == 4
    assert sorted(path.name for path in (tmp_path / 'w').glob('*.pth')) == ['epoch_1.pth']
    assert all(value.isfinite().all() for value in torch.load(tmp_path / 'w' / 'epoch_1.pth')['state_dict'].values())


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 3 MB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk], capture_output=True).returncode:
        pytest.skip('mounting a small file system needs root')
    yield disk
    subprocess.run(['umount', disk], check=True)


def test_a_full_disk_is_called_that(tiny_disk, tmp_path):
    write_toy(tmp_path, 'model = dict(ballast=300_000)\ndefault_hooks = dict(checkpoint=dict(max_keep_ckpts=1))')
    run = train(tmp_path, work_dir=tiny_disk)
    assert run.returncode == 1
    assert re.match(rf'error: {tiny_disk}/epoch_\d\.pth: the disk is full, so this file', last_line(run))
    kept, = tiny_disk.glob('*.pth')
    assert 'optimizer' in torch.load(kept)
    assert not any(tiny_disk.glob('.*.pth.*'))


EVALUATED = '''
val_dataloader = dict(
    batch_size=4, num_workers={workers}, dataset=_base_.dataset, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader['dataset'] = dict(_base_.dataset, pipeline=[
    dict(type='LoadImageOrSkip', skip=False), dict(type='{pack}')])
val_evaluator = dict(type='ToyMetric')
val_cfg = dict(type='ValLoop')
default_hooks = dict(checkpoint=dict(interval=10, save_last=False))
'''


@pytest.mark.parametrize('workers', [0, 2])
def test_an_evaluation_that_fails_loses_no_epoch(workers, tmp_path):
    """A validation image is cut off, and checkpoints are not written every epoch."""
    write_toy(tmp_path, EVALUATED.format(workers=workers, pack='ToyPack') + '''
val_dataloader['dataset']['data_root'] = 'val'
''')
    (tmp_path / 'val').mkdir()
    for name in ('00.jpg', '01.jpg'):
        content = (tmp_path / 'images' / name).read_bytes()
        (tmp_path / 'val' / name).write_bytes(content if name == '00.jpg' else content[:len(content) // 2])
    run = train(tmp_path)
    assert run.returncode == 1
    assert last_line(run) == ('error: the image val/01.jpg cannot be decoded; replace it or take it out of the set. '
                              'Checkpoints are kept: --resume goes on from the last one.')
    assert 'Traceback' not in run.stdout
    assert torch.load(tmp_path / 'w' / 'interrupted.pth')['meta']['epoch'] == 1
    (tmp_path / 'val' / '01.jpg').write_bytes((tmp_path / 'images' / '01.jpg').read_bytes())
    run = train(tmp_path, '--resume')
    assert run.returncode == 0 and 'resumed epoch: 1, iter: 6' in run.stdout, run.stdout[-2000:]


@pytest.mark.parametrize(('workers', 'where'), [(0, 'train'), (2, 'train'), (0, 'val')])
def test_an_error_of_one_s_own_in_a_run_is_one_line(workers, where, tmp_path):
    (tmp_path / 'own.py').write_text(OWN)
    write_toy(tmp_path, EVALUATED.format(workers=workers, pack='OwnPack' if where == 'val' else 'ToyPack') + f'''
custom_imports = dict(imports=['micronet_mm', 'toy', 'own'])
train_dataloader = dict(num_workers={workers})
''' + ('' if where == 'val' else '''
train_dataloader['dataset'] = dict(_base_.dataset, pipeline=[dict(type='LoadImageOrSkip'), dict(type='OwnPack')])
'''))
    env = dict(ENV, PYTHONPATH=f'{ENV["PYTHONPATH"]}{os.pathsep}{tmp_path}')
    command = TRAIN, 'toy_config.py', '--work-dir', 'w'
    run = call(*command, cwd=tmp_path, env=env)
    assert run.returncode == 1 and 'Traceback' not in run.stdout, run.stdout[-2000:]
    kept = ' Checkpoints are kept: --resume goes on from the last one.' if where == 'val' else ''  # of epoch 1
    assert last_line(run) == (f"error: KeyError: 'lable' ({tmp_path}/own.py, line 6). MICRONET_TRACEBACK=1 in the "
                              f'environment shows the traceback.{kept}')
    if workers == 0 and where == 'train':
        run = call(*command, cwd=tmp_path, env=dict(env, MICRONET_TRACEBACK='1'))
        assert run.returncode == 1 and 'Traceback (most recent call last)' in run.stdout


def test_the_first_screen_says_what_is_trained_and_the_log_file_has_the_rest(tmp_path):
    write_toy(tmp_path)
    lines = train(tmp_path).stdout.splitlines()
    first = next(index for index, line in enumerate(lines) if 'Epoch(train)' in line)
    said = [line for line in lines[:first] if re.match(r'(model|data|weights|schedule|output|log) ', line)]
    assert [' '.join(line.split()) for line in said[1:4]] == [
        'data 24 training images', 'weights random',
        'schedule 3 epochs of 6 iterations, batch size 4, learning rate 0.02']
    assert re.fullmatch(r'model +ToyModel with MicroNet, [\d,]+ parameters', said[0]) and first < 30
    log = Path(said[5].split()[1]).read_text()
    assert 'System environment' in log and 'Hooks will be executed' in log
    assert f'weights   resumed from {tmp_path}/w/epoch_3.pth' in train(
        tmp_path, '--resume', '--cfg-options', 'train_cfg.max_epochs=4').stdout


def test_batches_of_one_image_that_cannot_be_normalized_get_advice():
    with pytest.raises(ValueError, match='Expected more than 1 value per channel') as error:
        torch.nn.BatchNorm1d(4)(torch.zeros(1, 4))
    assert 'cannot be normalized there; set train_dataloader.batch_size to 2 or more' in described(error.value)


OWN = """from mmengine.registry import TRANSFORMS
@TRANSFORMS.register_module()
class OwnPack:
    def __call__(self, results):
        label = results
        label = results['lable']
"""
