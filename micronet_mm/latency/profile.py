"""Where the time of a plan goes, and what this machine could do at best."""
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from micronet_mm.deploy.plan.compiling import compile_plan
from micronet_mm.deploy.plan.engine import OpenPlan
from micronet_mm.deploy.plan.writing import MAP, Entry, Step


@dataclass
class Kind:
    """All steps of one operation.

    Attributes:
        name: of the operation.
        steps: how many there are.
        seconds: that they take, each the median of its passes.
        madds: multiply-adds of convolutions and linear layers; Shift-Max and clamps are not counted.
        bytes: of their weights, and places of channels.
    """
    name: str
    steps: int = 0
    seconds: float = 0
    madds: int = 0
    bytes: int = 0


@dataclass
class Machine:
    """What one thread reaches.

    Attributes:
        madds: multiply-adds per second, of a product of matrices.
        bandwidth: bytes per second that are read from an array as large as the weights.
    """
    madds: float
    bandwidth: float

    def seconds(self, kind: Kind) -> float:
        """That the steps would take at best, if computing and reading did not overlap."""
        return kind.madds / self.madds + kind.bytes / self.bandwidth


def profile(model: nn.Module, images: Tensor, passes: int = 100) -> tuple[list[Kind], Machine]:
    """The kinds of steps of a network in deploy form, the costliest first, and the machine.

    Args:
        model: takes images (N, C, H, W).
        images: of which the first is run, on one thread.
        passes: of which medians are taken.
    """
    plan = compile_plan(model, [images])
    opened = OpenPlan(plan.content())
    taken = [opened.time([images[:1]]) for _ in range(passes)]
    kinds: dict[str, Kind] = {}
    for step, times in zip(plan.steps, zip(*taken)):
        kind = kinds.setdefault(step.name, Kind(step.name))
        kind.steps += 1
        kind.seconds += median(times)
        kind.madds += multiply_adds(step)
        kind.bytes += weights(step)
    total = sum(kind.bytes for kind in kinds.values())
    return sorted(kinds.values(), key=lambda kind: -kind.seconds), machine(total, passes)


def weights(step: Step) -> int:
    return sum(each.content.nbytes for each in step.arguments if isinstance(each, Entry) and each.content is not None)


def multiply_adds(step: Step) -> int:
    """Every weight is used once for each place that its convolution makes, once in a linear layer."""
    given = step.arguments
    maps = [each.shape for each in given if isinstance(each, Entry) and each.kind == MAP]
    if step.name == 'pointwise':
        groups, inputs, outputs = given[:3]
        return groups * inputs * outputs * maps[0][1] * maps[0][2]
    if step.name == 'convolution':
        (rows, _, _, columns, _, _), (groups, inputs, outputs) = given[:6], given[6:9]
        return groups * inputs * outputs * rows * columns * maps[1][1] * maps[1][2]
    if step.name == 'lines':
        (_, height, width), (_, rows, columns) = maps
        expanding, filters = (0, 2) if given[1] == 0 else (given[2] * given[3] * given[4], 9)
        down, across = (step.arguments[index].shape[0] for index in lines_weights(given, filters))
        return expanding * height * width + down * rows * width + across * rows * columns
    if step.name == 'linear':
        return given[0].shape[0] * given[1].shape[0]
    if step.name == 'stem':
        (_, rows, columns), = maps
        return given[6].shape[0] * rows * 2 * columns + given[8].shape[0] * rows * columns
    return 0


def lines_weights(given: Sequence, filters: int) -> tuple[int, int]:
    """Where the vertical and the horizontal ones stand, behind places, M1, M2, k, stride and the map that is made."""
    return filters + 6, filters + 8


def machine(weight_bytes: int, passes: int) -> Machine:
    size = 768
    a, b = torch.rand(size, size), torch.rand(size, size)
    out = torch.empty(size, size)
    array = torch.rand(max(1, weight_bytes // 4))
    product = best(lambda: torch.mm(a, b, out=out), passes)
    read = best(array.sum, passes)
    return Machine(size**3 / product, weight_bytes / read)


def best(run, passes: int) -> float:
    times = []
    for _ in range(passes):
        begin = perf_counter()
        run()
        times.append(perf_counter() - begin)
    return min(times)
