"""The number of groups of a micro-factorized pointwise convolution."""
from math import gcd, log, sqrt

from micronet_mm.validation import COUNT, POSITIVE, checked


@checked(in_channels=COUNT, out_channels=COUNT, scale=POSITIVE)
def num_groups(in_channels: int, out_channels: int, scale: float = 1.0) -> int:
    """Return the group number of Eq. 3, G = sqrt(C / R), for one group convolution between C and C / R channels.

    C / R is the narrower side, so G = sqrt(min(in, out)). The result must divide both sides: it is the common divisor
    with the nearest ratio to G. Two divisors are equally near whenever C / R is not a square (4 * 6 = 24). Then an
    expanding convolution takes the larger divisor, and a compressing convolution takes the smaller divisor. This rule
    gives every group number of the released M0 to M3.

    Args:
        in_channels: input channels of the convolution.
        out_channels: output channels of the convolution.
        scale: lambda in G = lambda * sqrt(C / R). A larger value means more groups and fewer connections (Table 3b).

    Example:
        >>> num_groups(24, 144), num_groups(144, 24), num_groups(384, 64)
        (6, 4, 8)
        >>> num_groups(24, 144, scale=2)
        12
    """
    return nearest_groups(in_channels, out_channels, scale * sqrt(min(in_channels, out_channels)))


@checked(in_channels=COUNT, out_channels=COUNT, target=POSITIVE)
def nearest_groups(in_channels: int, out_channels: int, target: float) -> int:
    """Return the valid number of groups with the nearest ratio to ``target``; ties are broken as in num_groups."""
    shared = gcd(in_channels, out_channels)
    tie_break = -1 if out_channels > in_channels else 1
    return min((d for d in range(1, shared + 1) if shared % d == 0),
               key=lambda d: (round(abs(log(d / target)), 9), tie_break * d))
