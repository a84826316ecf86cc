"""Dynamic Shift-Max as a function of its input and its coefficients (Eq. 4 of the paper).

Three implementations that agree: the formula in PyTorch (:func:`reference_shift_max`); C++ for CPUs; Triton for GPUs.
Both of the latter keep nothing for backward but the input and the coefficients. :func:`shift_max` chooses.
"""
from functools import cache
from typing import Optional

import torch
from torch import Tensor

from .channels import channel_roll
from .compiled import call, is_off, library, unwatched, warn_of_reference
from .deferred import Deferred, differentiable_gradients, settle

# Type of x -> name in the C++ library, type of the arithmetic and of the coefficients there.
TYPES = {
    torch.float32: ('float32', torch.float32),
    torch.float64: ('float64', torch.float64),
    torch.bfloat16: ('bfloat16', torch.float32),
}
MOST = 3  # J and K that C++ has code for
SEGMENT = 1024  # positions that C++ takes as one task when channels come last


def shift_max(x: Tensor, coefficients: Tensor, groups: int, shift: str = 'grouped') -> Tensor:
    r"""The largest of K fusions, each a weighted sum of J circular channel shifts of ``x``.

    .. math:: y_i = \max_{1 \le k \le K} \sum_{j=0}^{J-1} a^k_{i,j} \, x_{\mathrm{roll}^j(i)}

    Args:
        x: (N, C, H, W), a tensor or deferred.
        coefficients: (N, K, J, C) of the type of ``x``, one per sample, fusion, shift and channel.
        groups: G, the groups that the shifts step over; C is a multiple of it.
        shift: ``'grouped'`` or ``'paper'``, see :func:`channel_roll`.

    Returns:
        (N, C, H, W), in the memory format of ``x``. Where several fusions are equally large they share the gradient.

    For backward C++ and Triton save ``x`` and ``coefficients``; the reference, what its operations save.
    """
    bias = None
    if isinstance(x, Deferred):
        x, coefficients, bias = of_raw(x, coefficients, groups, shift)
    if has_code(x, coefficients):
        if x.is_cpu and library() is not None:
            return CompiledShiftMax.apply(x, coefficients, bias, groups, shift)
        if x.is_cuda and bias is None and triton_shift_max() is not None:
            return triton_shift_max().apply(x, coefficients, groups, shift)
    return reference_shift_max(x, coefficients, groups, shift, bias)


def of_raw(x: Deferred, coefficients: Tensor, groups: int, shift: str) -> tuple[Tensor, Tensor, Optional[Tensor]]:
    """The raw tensor, coefficients and bias that give the same: a factor and a summand of a channel pass into them."""
    if not x.is_affine:
        return settle(x), coefficients, None
    if x.scale is None:
        return x.raw, coefficients, None
    affine = torch.stack([x.scale, x.shift])
    scale, offset = torch.stack(
        [channel_roll(affine, groups, j, shift) for j in range(coefficients.shape[2])]).unbind(1)
    return x.raw, coefficients * scale, (coefficients * offset).sum(2)


def reference_shift_max(x: Tensor, coefficients: Tensor, groups: int, shift: str = 'grouped',
                        bias: Optional[Tensor] = None) -> Tensor:
    """:func:`shift_max` as the formula says it: for export, compilers, double backward, and to compare with.

    ``bias``, (N, K, C), is added to the fusions.
    """
    shifted = [channel_roll(x, groups, j, shift) for j in range(coefficients.shape[2])]
    fusions = []
    for k in range(coefficients.shape[1]):
        fusion = coefficients[:, k, 0, :, None, None] * shifted[0]
        for j in range(1, coefficients.shape[2]):
            fusion = fusion + coefficients[:, k, j, :, None, None] * shifted[j]
        fusions.append(fusion if bias is None else fusion + bias[:, k, :, None, None])
    if len(fusions) == 1:
        return fusions[0]
    return torch.maximum(fusions[0], fusions[1]) if len(fusions) == 2 else torch.stack(fusions).amax(0)


def gathered_shift_max(x: Tensor, coefficients: Tensor, partner: Tensor) -> Tensor:
    """:func:`shift_max` without a loop, for TorchScript: what it compiles can then be exported to ONNX.

    It takes K * J times the memory of ``x``. ``partner`` is (J, C), of :func:`partners`.
    """
    return (coefficients[..., None, None] * x[:, partner][:, None]).sum(2).amax(1)


def has_code(x: Tensor, coefficients: Tensor) -> bool:
    """Whether there is C++ or Triton code for these."""
    types = TYPES if x.is_cpu else (*TYPES, torch.float16)
    return (unwatched(x, coefficients) and x.dtype in types and x.dim() == 4 and coefficients.dtype == x.dtype
            and max(coefficients.shape[1:3]) <= MOST)


@cache
def triton_shift_max() -> Optional[type[torch.autograd.Function]]:
    """The Triton implementation; None, after one warning, where it does not run."""
    if is_off():
        return None
    try:
        from .shift_max_triton import TritonShiftMax
        x = torch.zeros(1, 1, 1, 1, device='cuda', requires_grad=True)
        TritonShiftMax.apply(x, torch.ones_like(x), 1, 'grouped').sum().backward()
        return TritonShiftMax
    except Exception as error:  # of Triton, of its compiler, of the driver: they have no base in common
        warn_of_reference(error)
        return None


@cache
def partners(channels: int, groups: int, shifts: int, shift: str) -> tuple[Tensor, Tensor]:
    """For every shift j the partner of each channel, and the channel that each is the partner of; both (J, C)."""
    numbers = torch.arange(channels, device='cpu').view(1, -1)  # whatever the default device
    partner = torch.cat([channel_roll(numbers, groups, steps, shift) for steps in range(shifts)]).contiguous()
    return partner, partner.argsort(1).contiguous()


def memory_format(x: Tensor) -> torch.memory_format:
    """That of the C++ code for ``x``."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


class CompiledShiftMax(torch.autograd.Function):
    """The C++ implementation. Saves the input and the coefficients, bias included."""

    @staticmethod
    def forward(ctx, x: Tensor, coefficients: Tensor, bias: Optional[Tensor], groups: int, shift: str) -> Tensor:
        ctx.save_for_backward(x, coefficients, bias)
        ctx.settings = groups, shift
        layout = memory_format(x)
        x = x.contiguous(memory_format=layout)
        name, a, b, sizes, _ = arguments(x, coefficients, bias, layout)
        partner, _ = partners(x.shape[1], groups, coefficients.shape[2], shift)
        y = torch.empty_like(x)
        if y.numel():
            call(f'shift_max_forward_{name}', (x, a, b, partner, y), *sizes)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        x, coefficients, bias = ctx.saved_tensors
        groups, shift = ctx.settings
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            found = differentiable_gradients(with_bias, (x, coefficients, bias), (gradient, ), groups, shift)
            return *found, None, None
        layout = memory_format(x)
        x, gradient = (t.contiguous(memory_format=layout) for t in (x, gradient))
        name, a, b, sizes, parts = arguments(x, coefficients, bias, layout)
        n, fusions, shifts, c = coefficients.shape
        gx = torch.empty_like(x)
        ga, gb = a.new_zeros(n, parts, fusions, shifts, c), a.new_zeros(n, parts, fusions, c)
        if gx.numel():
            call(f'shift_max_backward_{name}', (x, a, b, *partners(c, groups, shifts, shift), gradient, gx, ga, gb),
                 *sizes)
        ga, gb = (g.squeeze(1) if parts == 1 else g.sum(1) for g in (ga, gb))
        return gx, ga.to(coefficients.dtype), None if bias is None else gb.to(bias.dtype), None, None


def with_bias(x: Tensor, coefficients: Tensor, bias: Optional[Tensor], groups: int, shift: str) -> Tensor:
    return reference_shift_max(x, coefficients, groups, shift, bias)


def arguments(x: Tensor, coefficients: Tensor, bias: Optional[Tensor], layout: torch.memory_format) -> tuple:
    """Of the C++ functions: the type's name, coefficients and bias in the type of the arithmetic, the sizes, and in how
    many parts the sums over positions come."""
    name, arithmetic = TYPES[x.dtype]
    n, c, h, w = x.shape
    a, b = (None if t is None else t.to(arithmetic).contiguous() for t in (coefficients, bias))
    segment = SEGMENT if layout == torch.channels_last else 0
    sizes = (n, c, h * w, coefficients.shape[2], coefficients.shape[1], segment)
    return name, a, b, sizes, max(1, -(-h * w // segment)) if segment else 1
