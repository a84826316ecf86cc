"""Dynamic Shift-Max as a function of its input and its coefficients (Eq. 4 of the paper).

Two implementations that agree: the formula in PyTorch (:func:`reference_shift_max`), and C++ for CPUs, forward and
backward, which keeps nothing but the input and the coefficients. :func:`shift_max` chooses.
"""
from functools import cache

import torch
from torch import Tensor

from .channels import channel_roll
from .compiled import call, library, unwatched

# Type of x -> name in the C++ library, type of the arithmetic and of the coefficients there.
TYPES = {
    torch.float32: ('float32', torch.float32),
    torch.float64: ('float64', torch.float64),
    torch.bfloat16: ('bfloat16', torch.float32),
}
MOST = 3  # J and K that C++ has code for


def shift_max(x: Tensor, coefficients: Tensor, groups: int, shift: str = 'grouped') -> Tensor:
    r"""The largest of K fusions, each a weighted sum of J circular channel shifts of ``x``.

    .. math:: y_i = \max_{1 \le k \le K} \sum_{j=0}^{J-1} a^k_{i,j} \, x_{\mathrm{roll}^j(i)}

    Args:
        x: (N, C, H, W).
        coefficients: (N, K, J, C) of the type of ``x``, one per sample, fusion, shift and channel.
        groups: G, the groups that the shifts step over; C is a multiple of it.
        shift: ``'grouped'`` or ``'paper'``, see :func:`channel_roll`.

    Returns:
        (N, C, H, W). Where several fusions are equally large they share the gradient.

    For backward the compiled implementation saves ``x`` and ``coefficients``; the reference, what its operations save.
    """
    if compiled_fits(x, coefficients) and library() is not None:
        return CompiledShiftMax.apply(x, coefficients, groups, shift)
    return reference_shift_max(x, coefficients, groups, shift)


def reference_shift_max(x: Tensor, coefficients: Tensor, groups: int, shift: str = 'grouped') -> Tensor:
    """:func:`shift_max` as the formula says it: for export, compilers, double backward, and to compare with."""
    shifted = [channel_roll(x, groups, steps, shift) for steps in range(coefficients.shape[2])]
    fusions = [
        sum(a[:, :, None, None] * s for a, s in zip(fusion.unbind(1), shifted)) for fusion in coefficients.unbind(1)
    ]
    return torch.maximum(*fusions) if len(fusions) == 2 else torch.stack(fusions).amax(0)


def compiled_fits(x: Tensor, coefficients: Tensor) -> bool:
    """Whether there is C++ code for these."""
    return (unwatched(x, coefficients) and x.dtype in TYPES and x.dim() == 4 and coefficients.dtype == x.dtype
            and max(coefficients.shape[1:3]) <= MOST)


@cache
def partners(channels: int, groups: int, shifts: int, shift: str) -> tuple[Tensor, Tensor]:
    """For every shift j the partner of each channel, and the channel that each is the partner of; both (J, C)."""
    numbers = torch.arange(channels).view(1, -1)
    partner = torch.cat([channel_roll(numbers, groups, steps, shift) for steps in range(shifts)]).contiguous()
    return partner, partner.argsort(1).contiguous()


class CompiledShiftMax(torch.autograd.Function):
    """The C++ implementation. Saves the input and the coefficients."""

    @staticmethod
    def forward(ctx, x: Tensor, coefficients: Tensor, groups: int, shift: str) -> Tensor:
        ctx.save_for_backward(x, coefficients)
        ctx.groups, ctx.shift = groups, shift
        name, arithmetic = TYPES[x.dtype]
        x = x.contiguous()
        n, c, h, w = x.shape
        fusions, shifts = coefficients.shape[1:3]
        a = coefficients.to(arithmetic).contiguous()
        partner, _ = partners(c, groups, shifts, shift)
        y = torch.empty_like(x)
        if y.numel():
            call(f'shift_max_forward_{name}', (x, a, partner, y), n, c, h * w, shifts, fusions)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        x, coefficients = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            y = reference_shift_max(x, coefficients, ctx.groups, ctx.shift)
            needed = [t for t in (x, coefficients) if t.requires_grad]
            found = iter(torch.autograd.grad(y, needed, gradient, create_graph=True))
            return *(next(found) if t.requires_grad else None for t in (x, coefficients)), None, None
        name, arithmetic = TYPES[x.dtype]
        x, gradient = x.contiguous(), gradient.contiguous()
        n, c, h, w = x.shape
        fusions, shifts = coefficients.shape[1:3]
        a = coefficients.to(arithmetic).contiguous()
        partner, inverse = partners(c, ctx.groups, shifts, ctx.shift)
        gx, ga = torch.empty_like(x), torch.zeros_like(a)
        if gx.numel():
            call(f'shift_max_backward_{name}', (x, a, partner, inverse, gradient, gx, ga), n, c, h * w, shifts, fusions)
        return gx, ga.to(coefficients.dtype), None, None
