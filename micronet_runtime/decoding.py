"""What a plan's maps become, by what its description says: ``decoding``, ``softmax`` or nothing."""
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .boxes import Distributions
from .heatmaps import Heatmaps
from .shown import shown

KINDS = {'heatmaps': Heatmaps, 'distributions': Distributions}


class Decoder(Protocol):
    """A function of what a plan computes.

    Attributes:
        inputs: names of what it is fed with.
        outputs: names of what it gives.
    """
    inputs: Sequence[str]
    outputs: Sequence[str]

    def __call__(self, compute: Callable, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for a feed by name; ``compute`` gives the plan's own for images (N, 3, H, W)."""


class Plain:
    """The plan's own outputs, or the softmax of each."""

    inputs = ('image', )

    def __init__(self, outputs: Sequence[str], softmax: bool) -> None:
        self.outputs, self.softmax = outputs, softmax

    def __call__(self, compute: Callable, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [softmax(logits) if self.softmax else logits for logits in compute(feed['image'])]


def decoder_of(description: dict[str, Any], shapes: dict[str, Sequence[int]]) -> Decoder:
    """What makes results of a plan's outputs, whose shapes less the batch are given by name.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if the description does not say it, or asks for one that is
            not known.
    """
    how = description.get('decoding')
    if how is None:
        return Plain(tuple(shapes), bool(description['softmax']))
    if how['kind'] not in KINDS:
        raise ValueError(f'decoding {shown(how["kind"])} is none of {", ".join(KINDS)}')
    return KINDS[how['kind']](description, list(shapes.values()))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Of (N, classes)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
