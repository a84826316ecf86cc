"""Keypoints of people whose boxes are known."""
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

import numpy as np

from .affine import crop
from .errors import InputError
from .model import File, Model
from .predictor import Predictor, in_batches
from .preprocess import pack
from .results import People, Person
from .shown import shown
from .sources import Frame, Source, read


class PoseEstimator(Predictor):
    """A top-down keypoint model.

    Args:
        path: of the exported file, or its :class:`Model`.
        batch_size: people at once, where the file's batch is open; by default 1.
        threads, providers: as for :class:`Model`.

    Raises:
        MissingInputError, InputError: if there is no such file, or it is no keypoint model whose heatmaps are decoded.

    Example:
        >>> pose = PoseEstimator('pose.onnx')
        >>> street, = pose('street.jpg', [[10, 20, 110, 320]])       # one person's box, x1, y1, x2, y2
        >>> street.people[0].keypoints                               # (17, 2) in pixels of the image
        >>> portrait, = pose('portrait.jpg')                         # the whole image is the box
    """

    def __init__(self, path: File, *, batch_size: Optional[int] = None, threads: Optional[int] = None,
                 providers: Optional[Sequence[Any]] = None) -> None:
        self.model = Model.at(path, threads, providers)
        self.model.require('keypoints', ['keypoints', 'scores'])
        self.batch = self.model.batch_size(batch_size)
        # With an open size the file still says which one it was trained with.
        how = self.model.metadata.preprocess
        size = self.model.metadata.size or how.get('size')
        if size is None:
            raise InputError(f'{self.model.path} does not say what size the crops of people have; export it with a '
                             'fixed size.')
        self.size, self.padding = tuple(size), how.get('padding', 1.25)

    def __call__(self, source: Source, boxes: Any = None) -> list[People]:
        """The poses in an image.

        Args:
            source: as for every task; with ``boxes`` one image.
            boxes: (M, 4), x1, y1, x2, y2 in pixels; by default one box, the whole image.

        Returns:
            One :class:`People` for each image, with a person for each box, in the order of the boxes.

        Raises:
            InputError: if the boxes are none, or there are several images for them.
        """
        if boxes is None:
            return super().__call__(source)
        frames = list(read(source))
        if len(frames) != 1:
            raise InputError(f'boxes were given for {len(frames)} images; give the boxes of one image with that image.')
        return [self.people(frames[0], check_boxes(boxes))]

    def predict(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, People]]:
        for frame in frames:
            height, width = frame.pixels.shape[:2]
            yield frame, self.people(frame, np.array([[0, 0, width, height]], np.float32))

    def people(self, frame: Frame, boxes: np.ndarray, scores: Optional[np.ndarray] = None) -> People:
        """The people in the boxes (M, 4), whose scores are (M)."""
        metadata, found = self.model.metadata, []
        crops = [crop(box, self.padding, self.size) for box in boxes]
        for _, group in in_batches(((None, each) for each in crops), self.batch):
            outputs = self.model.run(pack([each.of(frame.pixels) for each in group], metadata, self.size))
            for each, points, keypoint_scores in zip(group, outputs['keypoints'], outputs['scores']):
                index = len(found)
                found.append(Person(boxes[index], 1.0 if scores is None else float(scores[index]),
                                    each.to_image(points), keypoint_scores))
        return People(frame.image, frame.frame, tuple(found), metadata.skeleton)


def check_boxes(boxes: Any) -> np.ndarray:
    """(M, 4) float32; InputError if these are no boxes."""
    try:
        array = np.asarray(boxes, np.float32)
    except (TypeError, ValueError):
        raise InputError(f'{shown(boxes)} are no boxes; give them in shape (M, 4).') from None
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f'boxes of shape {array.shape} were given; give them in shape (M, 4): x1, y1, x2, y2.')
    wrong = ~(np.isfinite(array).all(1) & (array[:, 2:] > array[:, :2]).all(1))
    if wrong.any():
        raise InputError(f'{array[wrong][0].tolist()} is no box; give x1, y1, x2, y2 with x1 < x2 and y1 < y2.')
    return array
