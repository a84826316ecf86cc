"""People and their poses: a detector and a keypoint model, one behind the other."""
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

from .detector import Detector, check_threshold
from .errors import InputError
from .model import File
from .pose import PoseEstimator
from .predictor import Predictor
from .results import People
from .sources import Frame


class PeopleAndPoses(Predictor):
    """Finds people with a detector, and the keypoints of each.

    Args:
        detector_path: of an exported detector that knows people.
        pose_path: of an exported keypoint model.
        threshold: score above which a box counts.
        batch_size: people at once, where the keypoint model's batch is open; by default 1.
        threads, providers: as for :class:`Model`, of both.

    Raises:
        MissingInputError, InputError: if a file does not exist or is not of its kind.

    Example:
        >>> find = PeopleAndPoses('detector.onnx', 'pose.onnx')
        >>> street, = find('street.jpg')
        >>> [(person.bbox, person.keypoints) for person in street.people]
    """

    def __init__(self, detector_path: File, pose_path: File, *,
                 threshold: float = 0.3, batch_size: Optional[int] = None, threads: Optional[int] = None,
                 providers: Optional[Sequence[Any]] = None) -> None:
        self.detector = Detector(detector_path, threshold=check_threshold(threshold), threads=threads,
                                 providers=providers)
        self.pose = PoseEstimator(pose_path, batch_size=batch_size, threads=threads, providers=providers)
        self.batch = self.detector.batch
        if self.detector.model.metadata.person is None:
            raise InputError(f'the detector {self.detector.model.path} does not say which of its labels are people; '
                             'give one that was trained on people, exported with their label.')

    def predict(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, People]]:
        label = self.detector.model.metadata.person
        for frame, found in self.detector.predict(frames):
            people = found.labels == label
            yield frame, self.pose.people(frame, found.boxes[people], found.scores[people])
