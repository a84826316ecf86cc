"""Files that appear when they are complete, and never in the place of what is read."""
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Optional, Union

import cv2
import numpy as np

from .errors import InputError
from .sources import Frame, Input

SMALLEST_FILM = 300  # bytes; a header without any frame is less
COLORS = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')  # files that OpenCV writes colors to
CODECS = {'.avi': 'MJPG', '.m4v': 'mp4v', '.mkv': 'mp4v', '.mov': 'mp4v', '.mp4': 'mp4v'}


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Another name in the same folder to write to; what lies there takes the place of ``path`` at the end.

    Raises:
        InputError: if it cannot be written; nothing is left then but an older file of that name.
    """
    # Names have a limit, to which that of the file may come near.
    temporary = path.with_name(f'.{path.stem[:40]}.{secrets.token_hex(4)}{path.suffix}')
    try:
        temporary.open('xb').close()  # with the mode that the user's umask gives
        yield temporary
        if path.exists():
            with suppress(OSError):  # some network file systems refuse; that is no error
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the first error is the one to show
            temporary.unlink()
        if isinstance(error, OSError) and not isinstance(error, InputError):
            raise InputError(f'{path} cannot be written ({error.strerror}); name another place.') from error
        raise


class JsonList:
    """A JSON list in a file, an item a line, that is written as the items come."""

    def __init__(self, path: Path) -> None:
        self.file = path.open('w')
        self.start = '[\n'

    def add(self, item: Any) -> None:
        self.file.write(self.start + json.dumps(item))
        self.start = ',\n'

    def close(self) -> None:
        self.file.write('[]\n' if self.start == '[\n' else '\n]\n')
        self.file.close()


@contextmanager
def json_list(path: Optional[Path]) -> Iterator[Optional[JsonList]]:
    """A :class:`JsonList` that appears at the end, or None for no path."""
    if path is None:
        yield None
        return
    with written_whole(path) as temporary:
        items = JsonList(temporary)
        try:
            yield items
        finally:
            items.close()


class Film:
    """The drawn frames of one video."""

    def __init__(self, path: Path) -> None:
        self.path, self.whole, self.video = path, None, None

    def add(self, frame: Frame, drawn: np.ndarray) -> None:
        if self.video is None:
            self.whole = written_whole(self.path)
            height, width = drawn.shape[:2]
            self.temporary, self.size = self.whole.__enter__(), (width, height)
            self.video = cv2.VideoWriter(str(self.temporary), cv2.VideoWriter_fourcc(*CODECS[self.path.suffix]),
                                         encoded_rate(frame.rate), self.size)
            if not self.video.isOpened():
                raise InputError(f'{self.path} cannot be encoded by this OpenCV; leave the drawing out.')
        # OpenCV leaves out frames of another size, and says nothing.
        self.video.write(drawn if drawn.shape[1::-1] == self.size else cv2.resize(drawn, self.size))

    def close(self, *error: Any) -> None:
        if self.video is None:
            return
        self.video.release()
        self.video = None
        if error[0] is None and self.temporary.stat().st_size < SMALLEST_FILM:
            failed = InputError(f'{self.path} cannot be encoded by this OpenCV; leave the drawing out.')
            self.whole.__exit__(InputError, failed, None)
            raise failed
        self.whole.__exit__(*error)


def encoded_rate(rate: Optional[float]) -> float:
    """Frames a second that MPEG-4 can hold, whose clock has at most 65,535 ticks: 119.877 becomes 119.88."""
    rate = max(rate or 25, 0.001)
    return next(near for near, digits in ((round(rate, digits), digits) for digits in (3, 2, 1, 0))
                if near * 10**digits <= 65535)


class Drawings:
    """A folder of drawings, each called as what it is drawn on.

    Args:
        folder: where they go; it is made if need be.
        inputs: what will be drawn on.
        kept: files that no drawing may replace, those of the inputs among them.

    Raises:
        InputError: if the folder is not writable, a drawing would replace a file that is kept, or another drawing.
    """

    def __init__(self, folder: Path, inputs: list[Input], kept: Sequence[str] = ()) -> None:
        self.folder, self.film = folder, Film(folder)
        self.files: dict[Path, Union[str, int]] = {}
        for each in inputs:
            path = folder / drawing_of(each)
            if path in self.files:
                raise InputError(f'{self.files[path]} and {each.name} would be drawn in one file, {path}; give one '
                                 'folder of pictures at a time.')
            refuse_to_overwrite(path, *kept)
            self.files[path] = each.name
        self.paths = {name: path for path, name in self.files.items()}
        make_folder(folder)

    def add(self, frame: Frame, drawn: np.ndarray) -> None:
        """Write a drawing, or append it to those of its video."""
        path = self.paths[frame.image]
        if frame.frame is None:
            encoded, data = cv2.imencode(path.suffix, drawn)
            if not encoded:
                raise InputError(f'{path} cannot be encoded by this OpenCV; leave the drawing out.')
            with written_whole(path) as temporary:
                temporary.write_bytes(data.tobytes())
            return
        if self.film.path != path:
            self.film.close(None, None, None)
            self.film = Film(path)
        self.film.add(frame, drawn)

    def __enter__(self) -> 'Drawings':
        return self

    def __exit__(self, *error: Any) -> None:
        self.film.close(*error)


def drawing_of(each: Input) -> str:
    """What the file is called in which an input is drawn."""
    if not isinstance(each.given, str):
        return f'{each.name}.mp4'.replace(' ', '_') if each.moves else f'{each.name:06}.png'
    name = each.given.partition('?')[0].rstrip('/').rpartition('/')[2] if '://' in each.given else Path(each.given).name
    if each.moves:
        return name if Path(name).suffix in CODECS else f'{name}.mp4'
    return name if Path(name).suffix.lower() in COLORS else f'{name}.png'


def refuse_to_overwrite(target: Path, *sources: Union[str, Path]) -> None:
    """Raise InputError if a file to be written is one of those that are read, whatever their paths are spelled like."""
    for source in sources:
        if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
            raise InputError(f'Output {target} is also the input {source}; choose another output path.')


def make_folder(path: Path) -> None:
    """Make a folder before the work whose results go there; InputError if they could not be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f'Output folder {path} is not writable ({error.strerror}); choose another folder.') from None
