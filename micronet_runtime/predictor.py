"""What all tasks have in common: sources in, results out."""
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import InputError
from .results import Result
from .sources import Frame, Source, is_camera, read


class Predictor(ABC):
    """Called with a source, the list of its results; :meth:`stream` gives them one by one."""

    batch: int  # images at once

    def __call__(self, source: Source) -> list[Any]:
        """The results for an image, a folder, a video, or a list of these, in order.

        Raises:
            MissingInputError: if a file does not exist.
            InputError: if nothing can be read, or the source is a camera, which never ends.
        """
        if is_camera(source):
            raise InputError(f'camera {source} never ends; take its results one by one from stream({source}).')
        return list(self.stream(source))

    def stream(self, source: Source) -> Iterator[Any]:
        """The results one by one, each computed when it is asked for; raises what calling does."""
        frames = read(source)  # here, so that mistakes show at once
        return (result for _, result in self.predict(frames))

    @abstractmethod
    def predict(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Result]]:
        """Each frame and its result, such as ``for frame, result in detect.predict(read('street.mp4'))``."""


def in_batches(items: Iterable[tuple[Any, Any]], size: int) -> Iterator[tuple[Any, list[Any]]]:
    """Group (key, item) into lists of at most ``size`` neighbours of one key; yields each key with its list."""
    group, current = [], None
    for key, item in items:
        if group and key != current:
            yield current, group
            group = []
        current = key
        group.append(item)
        if len(group) == size:
            yield current, group
            group = []
    if group:
        yield current, group
