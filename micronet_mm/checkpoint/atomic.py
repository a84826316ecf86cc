"""Files that are either whole or not there."""
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Optional, Union

import torch
from mmengine.fileio import LocalBackend, register_backend

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def written_atomically(path: Union[str, Path]) -> Iterator[IO[bytes]]:
    """A binary file to write that appears under ``path`` when it is complete, and not at all if writing fails.

    Raises:
        OSError: if it cannot be written; a full disk is said to be full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise OSError(error.errno, 'the disk is full, so this file was not written (an older one of that name is '
                                       'still whole)', str(path)) from error
        raise


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
        tempfile.TemporaryFile(dir=path).close()
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
    """Remove the temporary files of checkpoints that a killed process left in ``folder``."""
    for path in Path(folder).glob('.*.pth.*'):
        path.unlink()


def save_atomically(content: Any, path: Union[str, Path]) -> None:
    """``torch.save`` that leaves either the whole file or none under ``path``."""
    with written_atomically(path) as file:
        torch.save(content, file)


@register_backend('atomic')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend with atomic writes, known to configs as ``backend_args=dict(backend='atomic')``."""

    _postponed: Optional[list[tuple[Path, int]]] = None

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write ``obj`` to ``filepath``; raises what :func:`written_atomically` does."""
        with written_atomically(filepath) as file:
            file.write(obj)

    def remove(self, filepath: Union[str, Path]) -> None:
        """Remove a file, later if within :meth:`removing_last`."""
        if self._postponed is None:
            super().remove(filepath)
        else:
            self._postponed.append((Path(filepath), os.stat(filepath).st_ino))

    @contextmanager
    def removing_last(self) -> Iterator[None]:
        """Put off what is removed inside to the end; if that is not reached, nothing is removed."""
        if self._postponed is not None:
            yield
            return
        self._postponed = []
        try:
            yield
            for path, inode in self._postponed:
                if path.exists() and os.stat(path).st_ino == inode:  # not written anew meanwhile
                    path.unlink()
        finally:
            self._postponed = None
