"""How many groups a micro-factorized pointwise convolution has."""
from math import gcd, log, sqrt

from micronet_mm.validation import COUNT, POSITIVE, checked


@checked(in_channels=COUNT, out_channels=COUNT, scale=POSITIVE)
def num_groups(in_channels: int, out_channels: int, scale: float = 1.0) -> int:
    """The group number of Eq. 3, G = sqrt(C / R), for one group convolution between C and C / R channels.

    C / R is the narrower side, so G = sqrt(min(in, out)). The result must divide both sides: of their common divisors
    it is the one nearest to G in ratio. Two are equally near whenever C / R is no square (4 * 6 = 24); an expanding
    convolution then takes the larger and a compressing one the smaller, which gives every group number of the
    released M0 to M3.

    Args:
        in_channels: of the convolution.
        out_channels: of the convolution.
        scale: lambda in G = lambda * sqrt(C / R), more groups and fewer connections with a larger one (Table 3b).

    Example:
        >>> num_groups(24, 144), num_groups(144, 24), num_groups(384, 64)
        (6, 4, 8)
        >>> num_groups(24, 144, scale=2)
        12
    """
    return nearest_groups(in_channels, out_channels, scale * sqrt(min(in_channels, out_channels)))


@checked(in_channels=COUNT, out_channels=COUNT, target=POSITIVE)
def nearest_groups(in_channels: int, out_channels: int, target: float) -> int:
    """The possible number of groups that is nearest to ``target`` in ratio; of two the one that num_groups takes."""
    shared = gcd(in_channels, out_channels)
    tie_break = -1 if out_channels > in_channels else 1
    return min((d for d in range(1, shared + 1) if shared % d == 0),
               key=lambda d: (round(abs(log(d / target)), 9), tie_break * d))
