"""The tensors, steps and weights of a plan, and how they lie in its file.

A file begins with ``MICRONET``. Words of 64 bits follow, in the order of the processor's least significant byte first:

======================  ===============================================================================================
version                 1
number of words         all of them, these eight included
memory                  floats that the maps and vectors share
weights                 floats behind the words
tensors                 how many
inputs, outputs         how many of each
description             bytes of it
of each tensor          kind (map, vector, floats, ints, halves, bytes), offset in its memory, C, H, W
inputs, outputs         tensors
of each step            operation, number of words that follow, arguments
======================  ===============================================================================================

Then come the weights, float32, int32, bfloat16 and int8, and behind them what the file says of itself: the JSON that an
ONNX file has among its metadata (docs/runtime.md), in UTF-8, to the end of the file. ``plan.cpp`` reads all but that.
"""
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import numpy as np

MAGIC, VERSION, HEADER = b'MICRONET', 2, 8
WIDEST, TILE, PART = 16, 64, 12  # as in shapes.h
MAP, VECTOR, FLOATS, INTS, HALVES, BYTES = range(6)
IN_A_FLOAT = {HALVES: 2, BYTES: 4}
OPERATIONS = {name: number for number, name in enumerate(
    ('load', 'store', 'stem', 'pointwise', 'elementwise', 'lines', 'pool', 'linear', 'attend', 'doubled', 'convolution',
     'picked'))}


def rounded(count: int, step: int) -> int:
    return -(-count // step) * step


@dataclass(eq=False)
class Entry:
    """A tensor of a plan.

    Attributes:
        kind: MAP or VECTOR, which share the memory, the others among the weights.
        shape: (C, H, W), the last two 1 unless it is a map.
        content: of weights.
    """
    kind: int
    shape: tuple[int, int, int]
    content: Optional[np.ndarray] = None

    @property
    def floats(self) -> int:
        """What it takes of its memory, rounded to whole vectors."""
        channels, height, width = self.shape
        if self.kind == MAP:
            return channels * rounded(height * width + WIDEST - 1, WIDEST)
        channels = -(-channels // IN_A_FLOAT.get(self.kind, 1))
        return rounded(channels, TILE if self.kind == VECTOR else WIDEST)


Argument = Union[Entry, None, int, float, bool]


@dataclass
class Step:
    """An operation.

    Attributes:
        name: one of :data:`OPERATIONS`.
        arguments: in the order in which ``plan.cpp`` reads them.
    """
    name: str
    arguments: Sequence[Argument]


@dataclass
class Plan:
    """Steps in the order in which they run."""
    steps: list[Step] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)
    outputs: list[Entry] = field(default_factory=list)

    def floats(self, array: Any) -> Entry:
        content = np.ascontiguousarray(array, np.float32).reshape(-1)
        return Entry(FLOATS, (content.size, 1, 1), content)

    def halves(self, array: Any) -> Entry:
        """Rounded to bfloat16, to the nearest even."""
        bits = np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint32).astype(np.uint64)
        content = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        return Entry(HALVES, (content.size, 1, 1), content)

    def int8(self, array: Any) -> Entry:
        content = np.ascontiguousarray(array, np.int8).reshape(-1)
        return Entry(BYTES, (content.size, 1, 1), content)

    def ints(self, array: Any) -> Entry:
        content = np.ascontiguousarray(array, np.int32).reshape(-1)
        return Entry(INTS, (content.size, 1, 1), content)

    def add(self, name: str, *arguments: Argument) -> None:
        self.steps.append(Step(name, arguments))

    def content(self, description: bytes = b'') -> bytes:
        """The file, with what it says of itself."""
        entries: list[Entry] = list(dict.fromkeys([*self.inputs, *self.outputs, *(
            argument for step in self.steps for argument in step.arguments if isinstance(argument, Entry))]))
        number = {entry: index for index, entry in enumerate(entries)}
        offsets, memory = self.places(entries)
        weights, blobs = 0, []
        for entry in entries:
            if entry.content is not None:
                offsets[entry] = weights
                blobs.append(entry.content.tobytes().ljust(entry.floats * 4, b'\0'))
                weights += entry.floats
        body = b''.join(struct.pack('<5q', entry.kind, offsets[entry], *entry.shape) for entry in entries)
        body += struct.pack(f'<{len(self.inputs) + len(self.outputs)}q',
                            *(number[entry] for entry in (*self.inputs, *self.outputs)))
        for step in self.steps:
            words = [struct.pack('<d', argument) if isinstance(argument, float) else struct.pack(
                '<q', -1 if argument is None else number[argument] if isinstance(argument, Entry) else argument)
                for argument in step.arguments]
            body += struct.pack('<2q', OPERATIONS[step.name], len(words)) + b''.join(words)
        header = struct.pack('<8q', VERSION, HEADER + len(body) // 8, memory, weights, len(entries), len(self.inputs),
                             len(self.outputs), len(description))
        return b''.join([MAGIC, header, body, *blobs, description])

    def places(self, entries: Sequence[Entry]) -> tuple[dict[Entry, int], int]:
        """Where each map and vector lies: two may share a place if the one is read for the last time before the other
        is written."""
        shared = [entry for entry in entries if entry.content is None]
        begin = dict.fromkeys(self.inputs, -1)
        end = {**begin, **dict.fromkeys(self.outputs, len(self.steps))}
        for index, step in enumerate(self.steps):
            for entry in step.arguments:
                if isinstance(entry, Entry) and entry.content is None:
                    begin.setdefault(entry, index)
                    end[entry] = max(index, end.get(entry, index))
        found: dict[Entry, int] = {}
        for entry in sorted(shared, key=lambda entry: -entry.floats):
            taken = sorted((found[other], found[other] + other.floats) for other in found
                           if begin[other] <= end[entry] and begin[entry] <= end[other])
            place = 0
            for low, high in taken:
                if place + entry.floats <= low:
                    break
                place = max(place, high)
            found[entry] = place
        return found, max((found[entry] + entry.floats for entry in shared), default=0)

