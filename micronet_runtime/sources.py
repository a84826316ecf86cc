"""Where images come from: files, folders, videos, streams, cameras, arrays."""
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import cv2
import numpy as np

from .errors import InputError, MissingInputError
from .shown import one_line, shown
from .whole import is_whole

Source = Union[str, Path, np.ndarray, int, list]
# Named here and not taken from the system, whose lists differ from machine to machine.
IMAGES = ('.avif', '.bmp', '.dib', '.gif', '.jfif', '.jp2', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm',
          '.ppm', '.ras', '.tif', '.tiff', '.webp')
VIDEOS = ('.3gp', '.avi', '.flv', '.m4v', '.mjpeg', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ogv', '.ts', '.webm',
          '.wmv')
MOST_FRAMES_A_SECOND, MOST_DAMAGED = 1000, 3000
log = logging.getLogger('micronet_runtime')  # goes to stderr unless the program has it otherwise


@dataclass(frozen=True, eq=False)
class Frame:
    """An image to look at.

    Args:
        image: its path, that of its video, or its place in the list that was given.
        frame: its number in the video, from 0; None for images.
        pixels: (H, W, 3) uint8 in BGR.
        rate: frames a second of the video, where it is known.
    """
    image: Union[str, int]
    frame: Optional[int]
    pixels: np.ndarray
    rate: Optional[float] = None


@dataclass(frozen=True, eq=False)
class Input:
    """A name, and what to read: a path or address, an array, or the number of a camera."""
    name: Union[str, int]
    given: Union[str, np.ndarray, int]

    @property
    def moves(self) -> bool:
        """Whether it is a video, a stream or a camera."""
        if isinstance(self.given, str):
            return '://' in self.given or Path(self.given).suffix.lower() in VIDEOS
        return isinstance(self.given, int)


def list_inputs(source: Source) -> list[Input]:
    """What a source consists of: a folder's images, sorted by name, and everything else as it is.

    Raises:
        MissingInputError: if a file does not exist.
        InputError: if there is no image, or what was given is none.
    """
    if is_camera(source):
        return [Input(f'camera {source}', int(source))]
    found = []
    for index, given in enumerate(source if isinstance(source, (list, tuple)) else [source]):
        if isinstance(given, np.ndarray):
            found.append(Input(index, checked(given)))
        elif not isinstance(given, (str, Path)):
            raise InputError(f'{shown(given)} is no source; give a path, an array, a list of these, or the number of '
                             'one camera by itself. A picture in memory is decoded by cv2.imdecode.')
        elif Path(given).is_dir():
            found += [Input(str(file), str(file)) for file in sorted(Path(given).iterdir())
                      if file.suffix.lower() in IMAGES and not file.is_dir() and not file.name.startswith('.')]
        elif '://' in str(given) or Path(given).exists():
            found.append(Input(str(given), str(given)))
        else:
            camera = ' For a camera add --camera; in Python its number is an int.' if str(given).isdigit() else ''
            raise MissingInputError(f'{given} does not exist; name an image, a video or a folder of images.{camera}')
    if not found:
        raise InputError(f'{name_of(source)} holds no image; name an image, a video or a folder of images.')
    return found


def name_of(source: Source) -> str:
    return one_line(source, 1000) if isinstance(source, (str, Path)) else shown(source)


def is_camera(source: Any) -> bool:
    return isinstance(source, (int, np.integer)) and not isinstance(source, bool)


def checked(array: np.ndarray) -> np.ndarray:
    """The array, if it is an image; InputError otherwise."""
    if array.ndim != 3 or array.shape[2] != 3 or not array.size or array.dtype != np.uint8:
        raise InputError(f'an array of shape {array.shape} and type {array.dtype} is no image; give one of shape '
                         '(H, W, 3) and type uint8, in BGR.')
    return array


def read(source: Source) -> Iterator[Frame]:
    """The images of a source, one after the other; what is wrong with the source itself is raised at once.

    Of several, one that cannot be read is named on stderr (the log 'micronet_runtime') and left out.

    Raises:
        MissingInputError, InputError: as ``list_inputs``; later, if nothing at all can be read.
    """
    return read_inputs(list_inputs(source), source)


def read_inputs(inputs: list[Input], source: Source, faults: Optional[list[str]] = None) -> Iterator[Frame]:
    """The images of inputs; videos that end early are named on stderr, and in the list of faults."""
    faults = [] if faults is None else faults
    read_any, alone = False, len(inputs) == 1 and not (isinstance(source, (str, Path)) and Path(source).is_dir())
    for each in inputs:
        try:
            for frame in _frames(each, faults):
                read_any = True
                yield frame
        except InputError as error:
            if alone:
                raise
            log.warning('%s and is skipped', str(error).partition(';')[0])
    if not read_any:
        raise InputError(f'{name_of(source)} holds no image that can be read; see the lines above.')


def _frames(each: Input, faults: list[str]) -> Iterator[Frame]:
    if each.moves:
        yield from _video(each, faults)
    else:
        yield Frame(each.name, None, each.given if isinstance(each.given, np.ndarray) else load(each.given))


def load(path: Union[str, Path]) -> np.ndarray:
    """The image in a file, (H, W, 3) uint8 in BGR, turned as its EXIF says.

    Raises:
        MissingInputError: if there is none.
        InputError: if it is broken or cut off.
    """
    if not isinstance(path, (str, Path)):
        raise InputError(f'{shown(path)} is no image; give a path, or an array that cv2.imdecode made of bytes.')
    if not Path(path).exists():
        raise MissingInputError(f'the image {path} does not exist; name one that does.')
    try:
        data = Path(path).read_bytes()
        # OpenCV fills what is missing with grey and says nothing.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if is_whole(data) else None
    except OSError as error:
        raise InputError(f'the image {path} cannot be read ({error.strerror}); name another one.') from None
    except cv2.error:  # more pixels than it allows, for instance
        image = None
    if image is None:
        raise InputError(f'the image {path} cannot be decoded; replace it or name another one.')
    return image


def _video(each: Input, faults: list[str]) -> Iterator[Frame]:
    """The frames of a video. OpenCV tells neither that one is cut off nor that a part of it is damaged."""
    video = cv2.VideoCapture(each.given)
    try:
        rate, number, promised = rate_of(video), 0, promised_frames(video, each)
        while True:
            there, pixels = video.read()
            if not there and not skip_damage(video, promised - number):
                break
            if there:
                yield Frame(each.name, number, pixels, rate)
                number += 1
    finally:
        video.release()
    if 0 < number < promised - max(1, promised // 50):  # containers estimate
        faults.append(f'{number} of about {promised} frames of {each.name} could be read: it may be cut off or damaged')
        log.warning('%s', faults[-1])
    if not number and is_camera(each.given):
        raise InputError(f'{each.name} gives no images; name one that is there and that no other program uses.')
    if not number:
        raise InputError(f'the video {each.name} cannot be decoded; name another one.')


def rate_of(video: cv2.VideoCapture) -> Optional[float]:
    """Frames a second; None where the container tells no number that can be."""
    rate = video.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate <= MOST_FRAMES_A_SECOND else None  # NaN is neither


def promised_frames(video: cv2.VideoCapture, each: Input) -> int:
    """How many frames the container says it has; 0 where it does not, as streams and cameras."""
    count = video.get(cv2.CAP_PROP_FRAME_COUNT)
    # Without a rate, for which OpenCV has 1000 as well, the number is a guess made of the duration.
    is_known = (rate_of(video) or MOST_FRAMES_A_SECOND) < MOST_FRAMES_A_SECOND
    return int(count) if is_known and isinstance(each.given, str) and '://' not in each.given and 0 < count < 1e9 else 0


def skip_damage(video: cv2.VideoCapture, left: int) -> bool:
    """Go past frames that cannot be decoded to the next that can; False if there is none among those that are left."""
    return any(video.grab() for _ in range(min(left, MOST_DAMAGED)))
