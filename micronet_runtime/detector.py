"""Objects in an image."""
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, Optional

import numpy as np

from .classifier import name_of
from .errors import InputError
from .model import File, Model
from .predictor import Predictor, in_batches
from .preprocess import Fit, fit, pack, resize
from .results import Detections
from .shown import shown
from .sources import Frame


class Detector(Predictor):
    """A detector.

    Args:
        path: of the exported file, or its :class:`Model`.
        threshold: score above which a box counts; by default the file's, below which nothing is found in any case.
        batch_size: images at once, where the file's batch is open; by default 1. Only images whose inputs have one
            size are computed together, so results do not depend on it.
        threads, providers: as for :class:`Model`.

    Raises:
        MissingInputError, InputError: if there is no such file, or it is no detector whose boxes are decoded.

    Example:
        >>> detect = Detector('detector.onnx', threshold=0.3, threads=1)
        >>> for result in detect('pictures/'):
        ...     for box, score, name in zip(result.boxes, result.scores, result.names):
        ...         print(result.image, name, score, box)
    """

    def __init__(self, path: File, *, threshold: Optional[float] = None, batch_size: Optional[int] = None,
                 threads: Optional[int] = None, providers: Optional[Sequence[Any]] = None) -> None:
        self.model = Model.at(path, threads, providers)
        self.model.require('detection', ['boxes', 'scores', 'labels', 'images'])
        self.batch = self.model.batch_size(batch_size)
        # Below the file's own nothing is found; heads with centerness multiply scores when they have passed it.
        self.threshold = 0.0 if threshold is None else check_threshold(threshold)

    def predict(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Detections]]:
        metadata = self.model.metadata
        how = metadata.preprocess
        inputs = ((frame, fit(frame.pixels.shape[:2], how, metadata.size)) for frame in frames)
        for size, group in in_batches(((fitted.padded, (frame, fitted)) for frame, fitted in inputs), self.batch):
            images = pack([resize(frame.pixels, fitted.scaled) for frame, fitted in group], metadata, size,
                          how.get('pad_value', 0.0))
            found = self.model.run(images, [fitted.scaled for _, fitted in group])
            for index, (frame, fitted) in enumerate(group):
                here = found['images'] == index
                boxes, scores, labels = (found[key][here] for key in ('boxes', 'scores', 'labels'))
                yield frame, self._detections(frame, fitted, boxes, scores, labels)

    def _detections(self, frame: Frame, fitted: Fit, boxes: np.ndarray, scores: np.ndarray,
                    labels: np.ndarray) -> Detections:
        """What is left of an image's boxes, in its own pixels."""
        height, width = frame.pixels.shape[:2]
        factors = np.array([fitted.scaled[1] / width, fitted.scaled[0] / height], np.float32)
        boxes = np.clip(boxes / np.tile(factors, 2), 0, np.array([width, height] * 2, np.float32))
        # Nothing is left of boxes that lie in the padding.
        chosen = np.flatnonzero((scores > self.threshold) & (boxes[:, 2:] > boxes[:, :2]).all(1))
        most = self.model.metadata.max_per_image
        chosen = chosen[np.argsort(-scores[chosen], kind='stable')][:most if most > 0 else None]
        names = tuple(name_of(label, self.model.metadata.classes) for label in labels[chosen].tolist())
        return Detections(frame.image, frame.frame, boxes[chosen], scores[chosen], labels[chosen], names)


def check_threshold(value: float, name: str = 'threshold') -> float:
    """The threshold, if scores can be compared to it; InputError otherwise."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise InputError(f'the {name} is {shown(value)}; scores are from 0 to 1, give one of these.')
    return value
