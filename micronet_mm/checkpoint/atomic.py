"""Atomic file writing: a file is either complete or absent."""
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Optional, Union

import torch
from mmengine.fileio import LocalBackend, register_backend

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors of file systems without an operation. Any other error of fsync means that data may be lost.
NOT_SUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)
ABANDONED_AFTER = 24 * 3600  # seconds; if files cannot be locked, younger temporary files are kept


@contextmanager
def written_atomically(path: Union[str, Path]) -> Iterator[IO[bytes]]:
    """Open a binary file that appears at ``path`` only when it is complete.

    The file gets the mode of the file that it replaces, or the default mode of ``open``.

    Raises:
        OSError: if the file cannot be written; the message names a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The temporary name stays within the length limit of file names.
    temporary = path.with_name(f'.{path.stem[:40]}{path.suffix}.{secrets.token_hex(4)}')
    try:
        with open(temporary, 'xb') as file:
            lock(file)
            yield file
            file.flush()
            sync(file)
        copy_mode(path, temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the first error is the one to show
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise OSError(error.errno, 'the disk is full, so this file was not written (an older one of that name is '
                                       'still whole)', str(path)) from error
        raise


def sync(file: IO[bytes]) -> None:
    """Sync a file to disk if its file system supports it."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def copy_mode(source: Path, target: Path) -> None:
    """Copy the mode of ``source`` to ``target`` if ``source`` exists; ignore file systems that refuse."""
    with suppress(OSError):
        mode = stat.S_IMODE(os.stat(source).st_mode)
        if mode != stat.S_IMODE(os.stat(target).st_mode):
            os.chmod(target, mode)


def lock(file: IO[bytes]) -> bool:
    """Lock a file until this process closes it or ends.

    Returns:
        False if another process holds the lock, or if files cannot be locked.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (OSError, AttributeError):
        return False


def refuse_to_overwrite(target: Union[str, Path], *sources: Union[str, Path]) -> None:
    """Raise ValueError if an output file is also an input file, even under another path."""
    for source in sources:
        if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
            raise ValueError(f'Output {target} is also the input {source}; choose another output path.')


def make_folder(path: Union[str, Path]) -> None:
    """Make an output folder before the work starts; raise ValueError if it is not writable."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()
    except OSError as error:
        raise ValueError(f'Output folder {path} is not writable ({error.strerror}); choose another folder.') from None


def make_folder_of(file: Union[str, Path]) -> None:
    """Make the folder of an output file; raise ValueError if it is not writable."""
    make_folder(Path(file).parent)
    if Path(file).is_dir():
        raise ValueError(f'Output {file} is a folder; name a file.')


def write_text_atomically(text: str, path: Union[str, Path]) -> None:
    """Write text atomically, see :func:`written_atomically`."""
    with written_atomically(path) as file:
        file.write(text.encode())


def remove_unfinished(folder: Union[str, Path]) -> None:
    """Remove temporary files of checkpoints that killed processes left in ``folder``.

    Files that another process is writing are kept.
    """
    for path in Path(folder).glob('.*.pth.*'):
        with suppress(OSError):  # another job may remove it too
            with open(path, 'r+b') as file:
                abandoned = lock(file) or time.time() - path.stat().st_mtime > ABANDONED_AFTER
            if abandoned:
                path.unlink()


def save_atomically(content: Any, path: Union[str, Path]) -> None:
    """Call ``torch.save`` atomically, see :func:`written_atomically`."""
    with written_atomically(path) as file:
        torch.save(content, file)


@register_backend('atomic')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend with atomic writes; configs use ``backend_args=dict(backend='atomic')``."""

    # A class attribute, because MMEngine makes an instance for each use.
    _postponed: Optional[list[Path]] = None

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write ``obj`` to ``filepath`` atomically, see :func:`written_atomically`."""
        with written_atomically(filepath) as file:
            file.write(obj)
        postponed = AtomicLocalBackend._postponed
        if postponed and Path(filepath) in postponed:  # it is a new file now
            postponed.remove(Path(filepath))

    def remove(self, filepath: Union[str, Path]) -> None:
        """Remove a file, later if within :meth:`removing_last`. Another job may have removed it already."""
        if AtomicLocalBackend._postponed is None:
            Path(filepath).unlink(missing_ok=True)
        else:
            AtomicLocalBackend._postponed.append(Path(filepath))

    @contextmanager
    def removing_last(self) -> Iterator[None]:
        """Delay removals until the context ends without an error; otherwise remove nothing."""
        if AtomicLocalBackend._postponed is not None:
            yield
            return
        AtomicLocalBackend._postponed = postponed = []
        try:
            yield
            for path in postponed:
                path.unlink(missing_ok=True)
        finally:
            AtomicLocalBackend._postponed = None
