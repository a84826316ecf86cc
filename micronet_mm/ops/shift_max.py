"""Dynamic Shift-Max as a function of its input and its coefficients (Eq. 4 of the paper)."""
from functools import reduce

import torch
from torch import Tensor

from .channels import channel_roll


def shift_max(x: Tensor, coefficients: Tensor, groups: int, shift: str = 'grouped') -> Tensor:
    r"""The largest of K fusions, each a weighted sum of J circular channel shifts of ``x``.

    .. math:: y_i = \max_{1 \le k \le K} \sum_{j=0}^{J-1} a^k_{i,j} \, x_{\mathrm{roll}^j(i)}

    Args:
        x: (N, C, H, W).
        coefficients: (N, K, J, C), one per sample, fusion, shift and channel.
        groups: G, the groups that the shifts step over; C is a multiple of it.
        shift: ``'grouped'`` or ``'paper'``, see :func:`channel_roll`.

    Returns:
        (N, C, H, W). Where several fusions are equally large they share the gradient.
    """
    num_shifts = coefficients.shape[2]
    shifted = [channel_roll(x, groups, steps, shift) for steps in range(num_shifts)]
    fusions = [
        sum(a[:, :, None, None] * s for a, s in zip(fusion.unbind(1), shifted)) for fusion in coefficients.unbind(1)
    ]
    return reduce(torch.maximum, fusions)
