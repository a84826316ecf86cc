"""Where a run goes on: with what is there, wherever it was copied, and no image left out."""
import os
import shutil
from fractions import Fraction

import pytest
import torch
from toy import assert_same_training_state, last_line, losses, train, write_toy

from micronet_mm.checkpoint import RefusedCheckpointError
from micronet_mm.checkpoint.errors import NoGoodCheckpointError
from micronet_mm.checkpoint.newest import newest_good_checkpoint

RECORD = "custom_hooks = _base_.custom_hooks + [dict(type='RecordHook')]\n"
ONE_CYCLE = "param_scheduler = dict(_delete_=True, type='OneCycleLR', eta_max=0.05, total_steps=18, by_epoch=False)\n"


def go_on(folder, text, *checkpoint, work_dir='w'):
    """A resumed run, which succeeds."""
    write_toy(folder, text)
    run = train(folder, '--resume', *checkpoint, work_dir=work_dir)
    assert run.returncode == 0, run.stdout[-2000:]
    return run.stdout


@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    """The work dir of a run with OneCycleLR that ended behind two epochs of 6 iterations, and what the third gives."""
    folder = tmp_path_factory.mktemp('two_epochs')
    write_toy(folder, ONE_CYCLE)
    assert train(folder).returncode == 0
    (folder / 'w' / 'epoch_3.pth').rename(folder / 'epoch_3.pth')
    (folder / 'w' / 'last_checkpoint').unlink()
    return folder / 'w', folder / 'epoch_3.pth'


def test_a_schedule_that_names_its_function_is_resumed(two_epochs, tmp_path):
    work_dir, unbroken = two_epochs
    shutil.copytree(work_dir, tmp_path / 'w')
    assert 'resumed epoch: 2' in go_on(tmp_path, ONE_CYCLE)
    assert_same_training_state(unbroken, tmp_path / 'w' / 'epoch_3.pth')


def test_a_checkpoint_that_is_refused_is_neither_passed_over_nor_given_up(two_epochs, tmp_path):
    work_dir, _ = two_epochs
    shutil.copytree(work_dir, tmp_path / 'w')
    content = torch.load(tmp_path / 'w' / 'epoch_2.pth')
    content['meta']['share'] = Fraction(1, 3)
    torch.save(content, tmp_path / 'w' / 'epoch_2.pth')
    write_toy(tmp_path, ONE_CYCLE)
    for arguments in ((), ('w/epoch_2.pth', )):
        run = train(tmp_path, '--resume', *arguments)
        assert run.returncode == 1
        assert 'w/epoch_2.pth is whole, but holds fractions.Fraction, which is not allowed' in last_line(run)
        assert 'anew' not in run.stdout
    assert 'resumed epoch: 2' in go_on(tmp_path, ONE_CYCLE + "safe_globals = ['fractions.Fraction']")


def test_a_first_start_that_always_resumes_begins_with_load_from(two_epochs, tmp_path):
    work_dir, _ = two_epochs
    text = f'load_from = {str(work_dir / "epoch_2.pth")!r}\ntrain_cfg = dict(max_epochs=1)\n'
    go_on(tmp_path, text)
    assert train(tmp_path, work_dir='plain').returncode == 0
    assert_same_training_state(tmp_path / 'plain' / 'epoch_1.pth', tmp_path / 'w' / 'epoch_1.pth')
    # What it began with is not asked for again, and is missed where there is nothing else.
    gone = text.replace('epoch_2', 'gone').replace('=1', '=2')
    assert 'resumed epoch: 1' in go_on(tmp_path, gone)
    run = train(tmp_path, '--resume', work_dir='empty')
    assert run.returncode == 1
    assert last_line(run) == f'error: {work_dir / "gone.pth"} does not exist, which load_from needs. ' \
                             'Name an existing checkpoint.'


@pytest.mark.parametrize('batch', [2, 3, 8])
def test_another_batch_size_begins_at_the_epoch_s_begin(batch, two_epochs, tmp_path):
    work_dir, _ = two_epochs
    shutil.copytree(work_dir, tmp_path / 'w')
    (tmp_path / 'w' / 'epoch_2.pth').unlink()
    out = go_on(tmp_path, RECORD + f'train_cfg = dict(max_epochs=2)\ntrain_dataloader = dict(batch_size={batch})')
    assert 'resumed epoch: 1' in out and 'Continuing epoch' not in out
    assert len(losses(tmp_path, 'w')) == 24 // batch


def test_in_the_middle_of_an_epoch_images_are_counted(tmp_path):
    """Three batches of four are four of three, and one of eight with four images once more."""
    write_toy(tmp_path, RECORD + "custom_hooks += [dict(type='SignalHook', number='SIGTERM', at=9)]")
    assert 'after iteration 9' in train(tmp_path).stdout
    for batch, done in ((4, 3), (3, 4), (8, 1)):
        shutil.copytree(tmp_path / 'w', tmp_path / f'w{batch}')
        (tmp_path / f'w{batch}' / 'losses_0.txt').unlink()
        out = go_on(tmp_path, RECORD + f'train_cfg = dict(max_epochs=2)\ntrain_dataloader = dict(batch_size={batch})',
                    work_dir=f'w{batch}')
        assert f'Continuing epoch 2 after its first {done} iterations' in out
        assert len(losses(tmp_path, f'w{batch}')) == 24 // batch - done


def test_checkpoints_by_iterations_know_their_place_too(tmp_path):
    by_iteration = 'default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4))\n'
    write_toy(tmp_path, by_iteration + 'train_cfg = dict(max_epochs=2)')
    assert train(tmp_path).returncode == 0
    out = go_on(tmp_path, by_iteration + 'train_cfg = dict(max_epochs=2)', 'w/iter_8.pth')
    assert 'Continuing epoch 2 after its first 2 iterations' in out


def written(path, iteration):
    torch.save(dict(meta=dict(iter=iteration), state_dict={}, optimizer={}), path)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Checkpoints whose times of modification lie: the older, the later."""
    for age, (name, iteration) in enumerate((('epoch_10', 100), ('interrupted', 95), ('epoch_9', 90), ('iter_85', 85))):
        written(tmp_path / f'{name}.pth', iteration)
        os.utime(tmp_path / f'{name}.pth', (age, age))
    return tmp_path


def test_the_newest_has_come_furthest(folder):
    for name in ('epoch_10', 'interrupted', 'epoch_9', 'iter_85'):
        assert newest_good_checkpoint(folder) == str(folder / f'{name}.pth')
        os.truncate(folder / f'{name}.pth', 100)
    with pytest.raises(NoGoodCheckpointError, match=r'iter_85\.pth is broken.*newest of 4 in .*restore a') as error:
        newest_good_checkpoint(folder)
    assert 'anew' not in str(error.value)


@pytest.mark.parametrize('elsewhere', ['/gone/work_dirs/x', None])
def test_the_one_that_is_named_comes_first_wherever_it_was_copied(elsewhere, folder, tmp_path_factory):
    """A run that began again in the folder of a longer one; the file may still be where it was, too."""
    there = elsewhere or tmp_path_factory.mktemp('before')
    if not elsewhere:
        written(there / 'epoch_9.pth', 90)
    (folder / 'last_checkpoint').write_text(f'{there}/epoch_9.pth')
    assert newest_good_checkpoint(folder) == str(folder / 'epoch_9.pth')
    (folder / 'epoch_9.pth').unlink()
    assert newest_good_checkpoint(folder) == (str(folder / 'epoch_10.pth') if elsewhere else str(there / 'epoch_9.pth'))


def test_a_refused_one_is_not_passed_over(folder):
    torch.save(dict(meta=dict(iter=100, share=Fraction(1, 2)), state_dict={}, optimizer={}), folder / 'epoch_10.pth')
    with pytest.raises(RefusedCheckpointError, match=r'epoch_10\.pth is whole, but holds fractions\.Fraction'):
        newest_good_checkpoint(folder)
