"""Weights that are part of the package, by name: ``micronet_mm://micronet_m0.tiny_imagenet``."""
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Union

from .errors import BrokenCheckpointError

SCHEME = 'micronet_mm://'
FOLDER = Path(__file__).resolve().parents[1] / 'weights'
TABLE = 'weights.json'


@dataclass(frozen=True)
class BundledWeights:
    """A row of ``micronet_mm/weights/weights.json``.

    Attributes:
        name: architecture and data set, ``micronet_m0.tiny_imagenet``.
        file: name of the file in ``micronet_mm/weights``.
        sha256: SHA-256 of the file in hexadecimal.
        arch: architecture, ``m0``.
        dataset: data set of the training.
        license: license of the data set, as far as known.
        num_classes: number of classes.
        input_size: channels, height and width of the images at validation.
        mean: of each channel, for pixel values from 0 to 255.
        std: of each channel, likewise.
        epochs: of the training.
        top1: top-1 accuracy on the validation set in percent, of this file.
        top5: top-5 accuracy in percent.
        config: config of the training, below ``configs/``.
        command: command of the training.
        commit: commit of this repository at which it ran.
    """
    name: str
    file: str
    sha256: str
    arch: str
    dataset: str
    license: str
    num_classes: int
    input_size: tuple[int, int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    epochs: int
    top1: float
    top5: float
    config: str
    command: str
    commit: str


@cache
def bundled_weights() -> dict[str, BundledWeights]:
    """All bundled weights by name."""
    rows = json.loads((FOLDER / TABLE).read_text())
    return {row['name']: BundledWeights(**{key: tuple(value) if isinstance(value, list) else value
                                           for key, value in row.items()}) for row in rows}


def is_bundled(path: Union[str, Path]) -> bool:
    """Return whether a path names bundled weights."""
    return str(path).startswith(SCHEME)


def bundled_file(path: str) -> Path:
    """Return the file of ``micronet_mm://NAME`` after checking its SHA-256.

    Raises:
        FileNotFoundError: if there are no bundled weights of this name.
        BrokenCheckpointError: if the file is missing or was changed.
    """
    name = path.removeprefix(SCHEME)
    row = bundled_weights().get(name)
    if row is None:
        raise FileNotFoundError(f'micronet_mm has no weights {name!r}; available: {", ".join(bundled_weights())}.')
    file = FOLDER / row.file
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BrokenCheckpointError(f'{file} cannot be read ({error.strerror}); reinstall micronet-mm.') from None
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise BrokenCheckpointError(f'{file} was changed or truncated: its SHA-256 is not that of {name} in {TABLE}; '
                                    'reinstall micronet-mm.')
    return file
