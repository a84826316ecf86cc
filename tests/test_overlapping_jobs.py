"""Files where several jobs write, and on hosts that refuse what others allow."""
import errno
import os
import stat
import subprocess
import sys
import threading

import pytest
import torch
from mm import call

from micronet_mm.checkpoint import atomic
from micronet_mm.checkpoint.atomic import remove_unfinished, save_atomically, write_text_atomically, written_atomically
from micronet_runtime.writing import written_whole


def test_a_file_that_is_being_written_is_not_cleared_away(tmp_path):
    """By this process or another one; what a killed process left is."""
    killed = [sys.executable, '-c', 'import os, sys\nfrom micronet_mm.checkpoint.atomic import written_atomically\n'
              'with written_atomically("epoch_1.pth") as file:\n    os._exit(1)']
    assert subprocess.run(killed, cwd=tmp_path).returncode == 1
    assert len(list(tmp_path.glob('.epoch_1.pth.*'))) == 1
    with written_atomically(tmp_path / 'interrupted.pth') as file:
        file.write(b'half')
        other = call('-c', 'from micronet_mm.checkpoint.atomic import remove_unfinished; remove_unfinished(".")',
                     cwd=tmp_path)
        assert other.returncode == 0, other.stdout
        remove_unfinished(tmp_path)
        assert not list(tmp_path.glob('.epoch_1.pth.*'))
        file.write(b' and whole')
    assert (tmp_path / 'interrupted.pth').read_bytes() == b'half and whole'
    assert os.listdir(tmp_path) == ['interrupted.pth']


def test_where_files_cannot_be_locked_only_old_ones_are_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, 'fcntl', None)
    old, new = tmp_path / '.epoch_1.pth.1234', tmp_path / '.epoch_2.pth.1234'
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    remove_unfinished(tmp_path)
    assert new.exists() and not old.exists()


def test_the_first_error_is_the_one_that_is_shown(tmp_path):
    """Another job has removed the temporary file when it is to be cleared away."""
    with pytest.raises(KeyError, match='first'), written_whole(tmp_path / 'a.json') as temporary:
        temporary.unlink()
        raise KeyError('first')
    with pytest.raises(KeyError, match='first'), written_atomically(tmp_path / 'a.json'):
        next(tmp_path.iterdir()).unlink()
        raise KeyError('first')


@pytest.mark.parametrize(('umask', 'mode'), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_get_the_mode_that_the_umask_gives(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        save_atomically(dict(a=1), tmp_path / 'weights.pth')
        with written_whole(tmp_path / 'found.json') as temporary:
            temporary.write_text('[]')
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}
    (tmp_path / 'weights.pth').chmod(0o640)  # the owner has decided
    save_atomically(dict(a=2), tmp_path / 'weights.pth')
    assert stat.S_IMODE((tmp_path / 'weights.pth').stat().st_mode) == 0o640


def refuse(number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))
    return refused


def test_a_file_system_that_knows_no_modes_and_no_fsync_keeps_checkpoints(tmp_path, monkeypatch):
    for name in ('chmod', 'fchmod'):
        monkeypatch.setattr(os, name, refuse(errno.EPERM))
    monkeypatch.setattr(os, 'fsync', refuse(errno.EINVAL))
    for value in (1, 2):
        save_atomically(dict(a=value), tmp_path / 'weights.pth')
        with written_whole(tmp_path / 'found.json') as temporary:
            temporary.write_text(str(value))
    assert torch.load(tmp_path / 'weights.pth') == dict(a=2) and (tmp_path / 'found.json').read_text() == '2'
    monkeypatch.setattr(os, 'fsync', refuse(errno.EIO))  # a disk that fails is no such file system
    with pytest.raises(OSError, match='Input/output'):
        save_atomically(dict(a=3), tmp_path / 'weights.pth')
    assert torch.load(tmp_path / 'weights.pth') == dict(a=2)


def test_names_at_the_limit_of_the_file_system(tmp_path):
    name = 'n' * 246 + '.pth'
    save_atomically(dict(a=1), tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_many_write_one_file_at_once(tmp_path):
    texts = [letter * 100_000 for letter in 'abcd']
    threads = [threading.Thread(target=write_text_atomically, args=(text, tmp_path / 'a.txt')) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / 'a.txt').read_text() in texts and os.listdir(tmp_path) == ['a.txt']


def test_importing_needs_no_shared_memory(tmp_path):
    """Nor does what training needs of it; a worker's count is seen by the process."""
    run = call('-c', '''
import torch
def refuse(*args): raise RuntimeError('unable to open shared memory object')
torch.Tensor.share_memory_ = torch.UntypedStorage.share_memory_ = refuse
import os
from micronet_mm.datasets import LoadImageOrSkip
from micronet_mm.engine.hooks.broken_image import skipped_here
load = LoadImageOrSkip()
if os.fork() == 0:
    load(dict(img_path='gone.jpg'))
    os._exit(0)
os.wait()
assert len(skipped_here()) == 1
''', cwd=tmp_path)
    assert run.returncode == 0, run.stdout
