"""Variations of a network: the ablations of Tables 2 and 3."""
from dataclasses import replace
from typing import Optional

from micronet_mm.layers import make_divisible, nearest_groups, num_groups
from micronet_mm.validation import COUNT, POSITIVE, checked, one_of, optional

from .arch import Arch, Row

VARIATION = dict(width=POSITIVE, group_scale=POSITIVE, groups=optional(COUNT, 'Eq. 3'),
                 lite=optional(one_of('nowhere', 'everywhere'), 'the lower layers'),
                 last_channels=optional(COUNT, 'the channels of the table'))


@checked(**VARIATION)
def vary(arch: Arch,
         width: float = 1.0,
         group_scale: float = 1.0,
         groups: Optional[int] = None,
         lite: Optional[str] = None,
         last_channels: Optional[int] = None) -> Arch:
    """Return a variation of a network with the same stem and classifier.

    Args:
        arch: the network.
        width: multiplier of channels, which are rounded to multiples of 8, or of 4 below 32 channels.
        group_scale: lambda in G = lambda * sqrt(C / R), Eq. 3 (Table 3b).
        groups: number of groups of all pointwise convolutions, or the nearest divisor of their channels, instead of
            Eq. 3 (Table 3a).
        lite: where to use the lite combination (Table 3c): 'nowhere' makes every Micro-Block a C, 'everywhere' an A;
            by default the lower layers, as the table says.
        last_channels: channels of the last block, independent of ``width``.

    Returns:
        A network whose groups all follow the rule.

    Raises:
        ValueError: for an argument outside what is listed here.
    """
    def rule(in_channels: int, out_channels: int) -> int:
        if groups is not None:
            return nearest_groups(in_channels, out_channels, groups)
        return num_groups(in_channels, out_channels, group_scale)

    rows = []
    channels = arch.stem[0] * arch.stem[1]
    for index, row in enumerate(arch.rows, 1):
        row = combined(row, lite)
        out = make_divisible(row.channels * width, 8 if row.channels >= 32 else 4)
        if index == len(arch.rows):
            out = last_channels or out
        if row.kind == 'E':
            g1 = rule(channels, out)
            pairs = dict(groups1=(g1, g1))
        else:
            hidden = channels * row.expansion[0] * row.expansion[1]
            g1, g3 = rule(channels, hidden), rule(hidden, out)
            pairs = dict(groups1=None if row.kind == 'A' else (g1, g1), groups2=(g3, g3))
        rows.append(replace(row, channels=out, **pairs))
        channels = out
    return replace(arch, rows=tuple(rows))


def combined(row: Row, lite: Optional[str]) -> Row:
    """Return the row with the lite or the regular combination and the same hidden width."""
    if row.kind == 'A' and lite == 'nowhere':
        return replace(row, kind='C', expansion=(1, row.expansion[0] * row.expansion[1]))
    if row.kind in ('B', 'C') and lite == 'everywhere':
        hidden = row.expansion[0] * row.expansion[1]
        return replace(row, kind='A', expansion=(2, hidden // 2) if hidden % 2 == 0 else (1, hidden))
    return row
