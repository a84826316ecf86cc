"""Where ``export --int8`` and the runtime meet: images of a folder, prepared as the runtime prepares them."""
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np

from micronet_mm.deploy.parity import agreement
from micronet_mm.deploy.quantize import quantize
from micronet_runtime import Classifier, Detector, Frame, InputError, Model, PoseEstimator
from micronet_runtime.sources import IMAGES, load

PREDICTORS = dict(classification=Classifier, detection=Detector, keypoints=PoseEstimator)
MOST, FEW = 128, 8  # images that are looked at, and fewer than which say little


class Recorder:
    """A session that keeps what it is given and what it gives."""

    def __init__(self, model: Model) -> None:
        self.session, self.names = model.session, model.outputs
        self.feeds: list[dict[str, np.ndarray]] = []
        self.found: list[dict[str, np.ndarray]] = []
        model.session = self

    def run(self, names: Optional[list[str]], inputs: dict[str, np.ndarray]) -> list[Any]:
        outputs = self.session.run(names, inputs)
        self.feeds.append(inputs)
        self.found.append(dict(zip(self.names, outputs)))
        return outputs


def calibration_images(folder: Path) -> list[Path]:
    """The images in a folder and those below, at most :data:`MOST` of them, evenly spread.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is a file, or holds no image.
    """
    if not folder.exists():
        raise FileNotFoundError(f'--int8 {folder} does not exist; name a folder of images that the model is made for.')
    if not folder.is_dir():
        raise ValueError(f'--int8 {folder} is no folder; name one of images that the model is made for.')
    files = sorted(file for file in folder.rglob('*')
                   if file.suffix.lower() in IMAGES and file.is_file() and not file.name.startswith('.'))
    if not files:
        raise ValueError(f'--int8 {folder} holds no image; name a folder of images that the model is made for.')
    return [files[i * len(files) // min(MOST, len(files))] for i in range(min(MOST, len(files)))]


def frames(files: list[Path]) -> Iterator[Frame]:
    """The images that can be read; the others are named on stderr."""
    for file in files:
        try:
            yield Frame(str(file), None, load(file))
        except InputError as error:
            print(f'{str(error).partition(";")[0]} and is skipped', file=sys.stderr)


def to_int8(content: bytes, folder: Path, files: list[Path]) -> tuple[bytes, str]:
    """The float file ``content`` in 8 bits, checked to run in the runtime, and what is to be said of it.

    Raises:
        ValueError: if none of the images can be read.
    """
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / 'model.onnx'
        path.write_bytes(content)
        model = Model(path)
        recorder = Recorder(model)
        count = sum(1 for _ in PREDICTORS[model.metadata.task](model).predict(frames(files)))
        if not count:
            raise ValueError(f'--int8 {folder} holds no image that can be read; name another folder.')
        if count < FEW:
            print(f'warning: ranges are measured on {count} image{"s" if count > 1 else ""} alone; give some dozens, '
                  'of the kind that the model is made for.', file=sys.stderr)
        quantized, account = quantize(content, recorder.feeds)
        path.write_bytes(quantized)
        model = Model(path)
        found = [dict(zip(model.outputs, model.session.run(None, feed))) for feed in recorder.feeds]
    close = agreement(model.metadata.task, found, recorder.found)
    return quantized, (f'{account}\nint8 beside float on {count} images of {folder}: {close}; {len(content) / 1e6:.1f} '
                       f'MB became {len(quantized) / 1e6:.1f} MB')
