"""Files that are either whole or not there."""
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
# What a file system answers that does not know an operation. Any other error of fsync means that data may be lost.
NOT_SUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)
ABANDONED_AFTER = 24 * 3600  # seconds; where files cannot be locked, a temporary file is left alone for so long


@contextmanager
def written_atomically(path: Union[str, Path]) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under ``path`` when it is complete, and not at all if writing fails.

    The file gets the mode that ``open`` gives a new file, or the mode of the file that it replaces.

    Raises:
        OSError: if it cannot be written; a full disk is said to be full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # File names have a limit, to which that of the file may come near.
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
    """Have a file reach the disk, where its file system can be asked for that."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def copy_mode(source: Path, target: Path) -> None:
    """Give ``target`` the mode of ``source`` if that exists. Some network file systems refuse; that is no error."""
    with suppress(OSError):
        mode = stat.S_IMODE(os.stat(source).st_mode)
        if mode != stat.S_IMODE(os.stat(target).st_mode):
            os.chmod(target, mode)


def lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed, by this process or by its death.

    Returns:
        False if another process holds the lock, or where files cannot be locked.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (OSError, AttributeError):
        return False


def refuse_to_overwrite(target: Union[str, Path], *sources: Union[str, Path]) -> None:
    """Raise ValueError if a file to be written is one of those that are read, whatever their paths are spelled like."""
    for source in sources:
        if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
            raise ValueError(f'{target} is to be written and is {source}, which is to be read; name another place to '
                             'write to.')


def make_folder(path: Union[str, Path]) -> None:
    """Make a folder before the work whose results go there; raise ValueError if they could not be written to it."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()
    except OSError as error:
        raise ValueError(f'{path} is no folder to write to ({error.strerror}); name another one.') from None


def make_folder_of(file: Union[str, Path]) -> None:
    """Make the folder of a file that is to be written; raise ValueError if it could not be."""
    make_folder(Path(file).parent)
    if Path(file).is_dir():
        raise ValueError(f'{file} is to be written and is a folder; name a file.')


def write_text_atomically(text: str, path: Union[str, Path]) -> None:
    """``Path.write_text`` that leaves either the whole file or none under ``path``."""
    with written_atomically(path) as file:
        file.write(text.encode())


def remove_unfinished(folder: Union[str, Path]) -> None:
    """Remove the temporary files of checkpoints that killed processes left in ``folder``.

    A file that another process is still writing stays.
    """
    for path in Path(folder).glob('.*.pth.*'):
        with suppress(OSError):  # another job may be clearing up as well
            with open(path, 'r+b') as file:
                abandoned = lock(file) or time.time() - path.stat().st_mtime > ABANDONED_AFTER
            if abandoned:
                path.unlink()


def save_atomically(content: Any, path: Union[str, Path]) -> None:
    """``torch.save`` that leaves either the whole file or none under ``path``."""
    with written_atomically(path) as file:
        torch.save(content, file)


@register_backend('atomic')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend with atomic writes, known to configs as ``backend_args=dict(backend='atomic')``."""

    # Of the class: MMEngine makes an instance for each use.
    _postponed: Optional[list[Path]] = None

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write ``obj`` to ``filepath``; raises what :func:`written_atomically` does."""
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
        """Put off what is removed inside to the end; if that is not reached, nothing is removed."""
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
