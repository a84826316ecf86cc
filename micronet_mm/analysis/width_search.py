"""Widths that the paper does not print, found by the cost that it prints: of Tables 2, 3 and 9."""
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple, Optional

from torch import nn

from micronet_mm.models import ARCHS, Arch, MicroBlockA, MicroBlockE, MicroNet, MicroNetClassifier
from micronet_mm.models.variation import vary

from .complexity import Cost, count

M2 = ARCHS['m2']
KEYPOINTS = 17
WIDTHS = [percent / 100 for percent in range(10, 161)]
LAST = list(range(160, 1025, 8))

# Parameters (None where they cannot be read) and multiply-adds in millions, as the paper prints them.
MOBILENETV2 = (None, 10.6)
VARIATIONS = {
    'micro-factorized depthwise': (dict(lite='nowhere', groups=1), 1.7, 10.6),
    'micro-factorized depthwise and pointwise': (dict(lite='nowhere'), 1.7, 10.6),
    'lite combination everywhere': (dict(lite='everywhere'), None, 10.5),
    'G = 1': (dict(groups=1), 1.3, 10.6),
    'G = 2': (dict(groups=2), 1.5, 10.5),
    'G = 4': (dict(groups=4), 1.7, 10.6),
    'G = 8': (dict(groups=8), 1.7, 10.6),
}
KEYPOINT_MODELS = dict(m3=(2.2, 163.2), m2=(1.8, 116.8))


class Candidate(NamedTuple):
    """Widths, what the model costs with them, and how far that is from the paper."""
    widths: dict[str, Any]
    cost: Cost
    distance: float


def distance(cost: Cost, params: Optional[float], madds: float) -> float:
    """To the paper's figures in millions: the larger of the two relative differences."""
    return max(abs(cost.madds / madds / 1e6 - 1), abs(cost.params / params / 1e6 - 1) if params else 0)


def nearest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.distance)


# ---- Tables 2 and 3: MicroNet-M2 with ReLU6, a width for all blocks and one for the last, which together with the
# classifier behind it holds most of the parameters.

def variations_of_m2(what: str) -> list[Candidate]:
    """Nearest first. Where the parameters cannot be read, the last block is M2's."""
    variation, params, madds = VARIATIONS[what]
    found = {}
    for width in WIDTHS:
        for last in (LAST if params else [M2.rows[-1].channels]):
            arch = vary(M2, width, **variation, last_channels=last)
            *rows, expansion = arch.rows
            cost = body(replace(arch, rows=tuple(rows))) + end(rows[-1].channels, expansion.groups1[0], last)
            found.setdefault(arch, Candidate(dict(width=width, last_channels=last), cost,
                                             distance(cost, params, madds)))
    return nearest_first(found.values())


@cache
def body(arch: Arch) -> Cost:
    return count(MicroNet(arch, dynamic=(False, False, False))).total


@cache
def end(in_channels: int, groups: int, channels: int) -> Cost:
    """The last block, at 7 x 7, and the classifier."""
    layers = nn.Sequential(MicroBlockE(in_channels, channels, (groups, groups), (False, False, False)),
                           MicroNetClassifier(channels, M2.classifier))
    return count(layers, 7, 7, channels=in_channels).total


# ---- Table 2, first row: MobileNetV2 with its own classifier.

def mobilenetv2() -> list[Candidate]:
    """Nearest first."""
    from micronet_mm.models import MobileNetV2Narrow
    found = {}
    for depth in (1.0, 0.75, 0.5):
        for width in (percent / 100 for percent in range(4, 31)):
            cost = count(MobileNetV2Narrow(width, depth)).total + Cost(1280 * 1000 + 1000, 1280 * 1000)
            found.setdefault(cost, Candidate(dict(width=width, depth=depth), cost, distance(cost, *MOBILENETV2)))
    return nearest_first(found.values())


# ---- Table 9: the three Micro-Blocks of the head, one at stride 8 and two at stride 4, for the structure of
# MicroHeatmapHead.

def keypoint_heads(arch: str, step: int = 8) -> list[Candidate]:
    """Nearest first, of multiples of ``step``."""
    backbone = count(MicroNet(arch, output_stride=16), 256, 192).total
    widths = range(step, 257, step)
    found = []
    for first in widths:
        for second in (width for width in widths if width <= first):
            cost = (backbone + head_block(ARCHS[arch].rows[-1].channels, first, (1, 2), 2, (32, 24))
                    + head_block(first, second, (2, 2), 1, (64, 48)) + head_block(second, second, (2, 2), 1, (64, 48))
                    + heatmaps(second))
            found.append(Candidate(dict(widths=(first, second, second)), cost, distance(cost, *KEYPOINT_MODELS[arch])))
    return nearest_first(found)


@cache
def heatmaps(channels: int) -> Cost:
    return count(nn.Conv2d(channels, KEYPOINTS, 1), 64, 48, channels=channels).total


@cache
def head_block(in_channels: int, width: int, expansion: tuple[int, int], ratio: int, size: tuple[int, int]) -> Cost:
    """One block of the head at a resolution."""
    module = MicroBlockA(in_channels, width, 5, 1, expansion, reduction=8 * ratio, shift_max=dict(spatial=True))
    return count(module, *size, channels=in_channels).total
