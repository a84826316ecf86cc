"""What an image shows."""
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

from .model import File, Model
from .predictor import Predictor, in_batches
from .preprocess import apply_steps, pack
from .results import Classification
from .sources import Frame


class Classifier(Predictor):
    """A classifier.

    Args:
        path: of the exported file, or its :class:`Model`.
        batch_size: images at once, where the file's batch is open; by default 1.
        threads, providers: as for :class:`Model`.

    Raises:
        MissingInputError, InputError: if there is no such file, or it is no classifier.

    Example:
        >>> classify = Classifier('classifier.onnx')
        >>> result, = classify('cat.jpg')
        >>> result.name, result.score
        >>> results = classify('pictures/')                          # of a folder, in order of names
        >>> for result in classify.stream(0):                        # of a camera
        ...     print(result.frame, result.name)
    """

    def __init__(self, path: File, *, batch_size: Optional[int] = None, threads: Optional[int] = None,
                 providers: Optional[Sequence[Any]] = None) -> None:
        self.model = Model.at(path, threads, providers)
        self.model.require('classification', ['scores'])
        self.batch = self.model.batch_size(batch_size)

    def predict(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Classification]]:
        metadata = self.model.metadata
        inputs = ((frame, apply_steps(frame.pixels, metadata.preprocess or [])) for frame in frames)
        for size, group in in_batches(((image.shape[:2], (frame, image)) for frame, image in inputs), self.batch):
            images = pack([image for _, image in group], metadata, size)
            for (frame, _), scores in zip(group, self.model.run(images)['scores']):
                label = int(scores.argmax())
                yield frame, Classification(frame.image, frame.frame, label, name_of(label, metadata.classes),
                                            float(scores[label]), scores)


def name_of(label: int, classes: Sequence[str]) -> str:
    """The name of a label, which is its number where the file has none."""
    return classes[label] if label < len(classes) else str(label)
