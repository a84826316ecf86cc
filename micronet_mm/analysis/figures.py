"""What the paper's figures 1, 3 and 5 (left) show, as numbers; figure 4 stands in :mod:`.block_diagrams`.

Costs are counted, groups are read off the modules that the networks are made of, curves are computed. Accuracies are
the paper's, always: nothing here was trained on ImageNet. :mod:`.figure_drawing` draws what stands here.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import sqrt
from typing import Optional

from micronet_mm.layers import ConvNorm, num_groups
from micronet_mm.models import RELEASED, MicroNet

from .paper_tables import Counted


@dataclass(frozen=True)
class Point:
    """A network in a plane of cost and accuracy.

    Attributes:
        name: as the paper calls it.
        accuracy: top-1 on ImageNet in percent, the paper's.
        paper_madds: multiply-adds in millions, the paper's.
        madds: the same counted here; None for a network that this package has no config of.
    """
    name: str
    accuracy: float
    paper_madds: float
    madds: Optional[float] = None

    @property
    def label(self) -> str:
        """What tells it from the others of its family: 'M2', '0.35x'."""
        return self.name.split()[-1].removeprefix('MicroNet-')


# The prior networks of Table 7 that have name, cost and accuracy on one line of the paper's text. Others (ShuffleNetV1,
# ShuffleNetV2+BFT, HBONet) have lost their figures there.
PRIOR = (Point('MobileNetV3+BFT 0.5x', 55.2, 15), Point('TinyNet-E', 59.9, 24))
# Section 1: MobileNetV3 falls from here when its cost does. The width is that of figure 5's added point (x0.75).
LARGER_BASELINE = Point('MobileNetV3-Small 0.75x', 65.4, 44)


def accuracy_curves(counted: Sequence[Counted]) -> dict[str, list[Point]]:
    """Figures 1 and 5 (left): family -> its networks, the cheapest first.

    Args:
        counted: Table 7, as :func:`.paper_tables.count_rows` gives it.
    """
    curves: dict[str, list[Point]] = {'MicroNet': [], 'MicroNet#': [], 'MobileNetV3-Small': []}
    for row, cost, _ in counted:
        family = next(family for family in ('MicroNet', 'MobileNetV3-Small') if row.name.startswith(family))
        family += '#' * row.name.endswith('#')
        curves[family].append(Point(row.name, row.accuracy, row.madds, cost.madds / 1e6))
    return {family: sorted(points, key=lambda point: point.madds) for family, points in curves.items()}


def gains(curves: dict[str, list[Point]]) -> list[float]:
    """How much better MicroNet-M0 to M3 are than the MobileNetV3-Small that the paper puts beside each, in percent
    points: the cheapest beside the cheapest, and so on."""
    pairs = zip(curves['MicroNet'], curves['MobileNetV3-Small'])
    return [round(ours.accuracy - baseline.accuracy, 1) for ours, baseline in pairs]


@dataclass(frozen=True)
class TradeOff:
    """Figure 3: what a micro-factorized pointwise convolution of a fixed cost can be (section 3.1).

    Attributes:
        reduction: R.
        budget: O = 2 C^2 / (R G), multiply-adds per position.
    """
    reduction: float
    budget: float

    @classmethod
    def through(cls, channels: int, reduction: int) -> 'TradeOff':
        """At the cost of the layer of C ``channels`` with the group number of Eq. 3.

        Example:
            >>> TradeOff.through(384, 6).crossing
            (8.0, 384.0)
        """
        return cls(reduction, 2 * channels**2 / (reduction * sqrt(channels / reduction)))

    def channels(self, groups: float) -> float:
        """C = sqrt(O R G / 2), Eq. 2."""
        return sqrt(self.budget * self.reduction * groups / 2)

    def connectivity(self, groups: float) -> float:
        """E = O / (2 G), paths per output channel, Eq. 2."""
        return self.budget / (2 * groups)

    @property
    def crossing(self) -> tuple[float, float]:
        """G and C = E of the point where both are equal, and G = sqrt(C / R)."""
        groups = round((self.budget / (2 * self.reduction))**(1 / 3), 9)  # from C = E
        return groups, self.connectivity(groups)


@dataclass(frozen=True)
class GroupConv:
    """A pointwise group convolution of a network: half of a micro-factorized one."""
    arch: str
    in_channels: int
    out_channels: int
    groups: int

    @property
    def expands(self) -> bool:
        return self.out_channels > self.in_channels

    @property
    def narrow(self) -> int:
        """C / R, the narrower side."""
        return min(self.in_channels, self.out_channels)

    @property
    def rule(self) -> int:
        """The group number by Eq. 3 that the package would choose."""
        return num_groups(self.in_channels, self.out_channels)


def group_convs(archs: Sequence[str] = RELEASED) -> list[GroupConv]:
    """The pointwise group convolutions of the networks' blocks, from the modules, first to last."""
    found = []
    for arch in archs:
        for block in chain.from_iterable(MicroNet(arch).stages):
            convs = [layer.conv for layer in block if isinstance(layer, ConvNorm)]
            found += [GroupConv(arch, conv.in_channels, conv.out_channels, conv.groups) for conv in convs]
    return found
