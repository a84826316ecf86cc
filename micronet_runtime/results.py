"""What is found. Boxes are (x1, y1, x2, y2), boxes and keypoints in pixels of the image.

``image`` is the path of an image or video, or the place in the list of what was given as an array. ``frame`` counts the
frames of a video from 0; it is None for images. ``to_dict()`` gives what ``json.dumps`` takes, ``frame`` left out
where there is none.
"""
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from .metadata import Skeleton


@dataclass(frozen=True, eq=False)
class Result:
    image: Union[str, int]
    frame: Optional[int]

    def to_dict(self) -> dict[str, Any]:
        return {'image': self.image} if self.frame is None else {'image': self.image, 'frame': self.frame}


@dataclass(frozen=True, eq=False)
class Classification(Result):
    """The class of an image.

    Args:
        label: of the best class.
        name: its name.
        score: its score.
        scores: (classes) float32, of all, their sum 1.
    """
    label: int
    name: str
    score: float
    scores: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), 'label': self.label, 'name': self.name, 'score': self.score,
                'scores': self.scores.tolist()}


@dataclass(frozen=True, eq=False)
class Detections(Result):
    """The objects in an image, best first.

    Args:
        boxes: (M, 4) float32, within the image.
        scores: (M) float32, 0 to 1.
        labels: (M) int64.
        names: of the M labels.
    """
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), 'boxes': self.boxes.tolist(), 'scores': self.scores.tolist(),
                'labels': self.labels.tolist(), 'names': list(self.names)}


@dataclass(frozen=True, eq=False)
class Person:
    """A person.

    Args:
        bbox: (4) float32.
        bbox_score: the detector's; 1 for boxes that were given.
        keypoints: (17, 2) float32, x and y; they may lie outside the image.
        keypoint_scores: (17) float32.
    """
    bbox: np.ndarray
    bbox_score: float
    keypoints: np.ndarray
    keypoint_scores: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        return {'bbox': self.bbox.tolist(), 'bbox_score': self.bbox_score, 'keypoints': self.keypoints.tolist(),
                'keypoint_scores': self.keypoint_scores.tolist()}


@dataclass(frozen=True, eq=False)
class People(Result):
    """The people in an image, best box first.

    Args:
        people: empty where nobody is.
        skeleton: names of the keypoints and the lines between them.
    """
    people: tuple[Person, ...]
    skeleton: Skeleton

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), 'people': [person.to_dict() for person in self.people]}
