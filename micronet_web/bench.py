"""A model on a picture: what it finds, drawn, how long that takes, and what it costs."""
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Optional

import numpy as np

from micronet_runtime import Classifier, Detector, Frame, InputError, Model, PoseEstimator, draw
from micronet_runtime.predictor import Predictor
from micronet_runtime.results import Classification, Detections, People, Result

from .models import Offer, Source

PREDICTORS = {'classification': Classifier, 'detection': Detector, 'keypoints': PoseEstimator}
RUNS, SECONDS = 7, 3.0  # timed at most, after one that is not timed


@dataclass(frozen=True)
class Outcome:
    """What the page shows.

    Args:
        drawn: (H, W, 3) uint8 in BGR.
        found: in words.
        milliseconds: median of a run: preparing the picture, the network, reading its outputs.
        runs: that were timed.
        madds: multiply-adds of the models involved, in words, and what there is to say of them.
    """
    drawn: np.ndarray
    found: str
    milliseconds: float
    runs: int
    madds: tuple[str, str]


class Bench:
    """Models, each opened when it is first run and kept.

    Args:
        threads: of every engine.
    """

    def __init__(self, threads: Optional[int] = None) -> None:
        self.threads = threads
        self._opened: dict[Source, Predictor] = {}

    def predictor(self, offer: Offer, engine: str) -> Predictor:
        """What runs a model; raises what is wrong with its files, in one line."""
        if engine not in offer.sources:
            raise InputError(f'{offer.name} is not there for {engine}; choose {" or ".join(offer.engines)}.')
        source = offer.sources[engine]
        if source not in self._opened:
            if isinstance(source, str):
                model = Model(source, self.threads)
            else:
                from .pytorch import TorchModel
                model = TorchModel(*source, self.threads)
            self._opened[source] = PREDICTORS[offer.task](model)
        return self._opened[source]

    def run(self, pixels: np.ndarray, offer: Offer, engine: str, finder: Optional[Offer] = None,
            threshold: float = 0.3) -> Outcome:
        """Look at a picture.

        Args:
            pixels: (H, W, 3) uint8 in BGR.
            offer: the model.
            engine: that runs it.
            finder: of a keypoint model the detector that finds people; without one the picture is one person.
            threshold: score above which boxes count and keypoints are drawn.
        """
        predictor, frame = self.predictor(offer, engine), Frame(0, None, pixels)
        used = [predictor]
        if finder:
            same = [engine] if engine in finder.sources else finder.engines
            used.insert(0, self.predictor(finder, same[0]))
        result, milliseconds, runs = timed(lambda: look(used, frame, threshold))
        return Outcome(draw(pixels, result, threshold), in_words(result, threshold), milliseconds, runs,
                       madds_of([each.model for each in used]))


def look(used: list[Predictor], frame: Frame, threshold: float) -> Result:
    """What one model finds, or a keypoint model in the people that a detector finds."""
    (_, found), = used[0].predict([frame])
    if isinstance(found, Detections):
        found = above(found, threshold)
    if len(used) == 1:
        return found
    detector, pose = used
    label = detector.model.metadata.person
    if label is None:
        raise InputError(f'the detector {detector.model.path} does not know people; choose another one.')
    people = found.labels == label
    return pose.people(frame, found.boxes[people], found.scores[people])


def above(found: Detections, threshold: float) -> Detections:
    """The boxes whose score is above the threshold; they come best first."""
    count = int((found.scores > threshold).sum())
    return replace(found, boxes=found.boxes[:count], scores=found.scores[:count], labels=found.labels[:count],
                   names=found.names[:count])


def timed(compute: Callable[[], Any]) -> tuple[Any, float, int]:
    """The result, the median of milliseconds, and of how many runs."""
    result = compute()
    taken: list[float] = []
    while not taken or (len(taken) < RUNS and sum(taken) < SECONDS * 1000):
        start = time.perf_counter()
        compute()
        taken.append((time.perf_counter() - start) * 1000)
    return result, median(taken), len(taken)


def in_words(result: Result, threshold: float) -> str:
    if isinstance(result, Classification):
        return f'{result.name}, {result.score:.0%}'
    if isinstance(result, People):
        count = len(result.people)
        return f'{count} {"person" if count == 1 else "people"}' if count else f'nobody above {threshold:.2f}'
    counts = Counter(result.names)
    return ', '.join(f'{count} x {name}' for name, count in counts.most_common()) or f'nothing above {threshold:.2f}'


def madds_of(models: list[Model]) -> tuple[str, str]:
    """Multiply-adds of a model, or of a detector and a keypoint model, and a remark."""
    costs = [model.metadata for model in models]
    if any(cost.madds is None for cost in costs):
        return 'unknown', 'the file does not say; export it anew'
    numbers = [f'{cost.madds / 1e6:,.1f} M' if cost.madds < 1e9 else f'{cost.madds / 1e9:,.2f} G' for cost in costs]
    sizes = [f'{cost.madds_size[0]} x {cost.madds_size[1]}' for cost in costs]
    if len(models) == 1:
        return numbers[0], f'one pass of the network at {sizes[0]}'
    return ' + '.join(numbers), f'detector at {sizes[0]}, and each person at {sizes[1]}'
