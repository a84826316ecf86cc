"""Where the values of a network are to be read while a plan is made."""
from dataclasses import dataclass
from math import inf
from typing import Optional

import numpy as np
from torch import nn

from .recording import Call, UnsupportedError, Value
from .writing import MAP, VECTOR, Entry

Range = tuple[float, float]
ANY: Range = (-inf, inf)


@dataclass(frozen=True)
class Fusion:
    """Shift-Max that is still to be done: its coefficients, its partners' places, J and K, and factors of places."""
    coefficients: Optional[Entry] = None
    partners: Optional[Entry] = None
    J: int = 0
    K: int = 0
    factors: Optional[Entry] = None


@dataclass(frozen=True, eq=False)
class Source:
    """Where the channels of a value are to be read.

    Attributes:
        map: whose channels they are.
        order: channel i of the value is channel ``order[i]`` of the map; None if it is channel i.
        fusion: Shift-Max that whoever reads them has to do.
        expand: a convolution that is still to be done, and the range of what it gives.
    """
    map: Entry
    order: Optional[np.ndarray] = None
    fusion: Optional[Fusion] = None
    expand: Optional[tuple[nn.Conv2d, Range]] = None

    @property
    def is_map(self) -> bool:
        """Whether the channels are those of the map as they are."""
        return self.order is None and self.fusion is None and self.expand is None


def map_of(value: Value) -> Entry:
    if len(value.shape) != 3:
        raise UnsupportedError(f'a tensor of shape {value.shape} where a map is needed')
    return Entry(MAP, value.shape)


def vector(channels: int) -> Entry:
    return Entry(VECTOR, (channels, 1, 1))


def range_of(call: Call) -> Optional[Range]:
    """Of a clamp."""
    if call.kind in (nn.ReLU6, 'relu6'):
        return 0.0, 6.0
    if call.kind in (nn.ReLU, 'relu'):
        return 0.0, inf
    return None
