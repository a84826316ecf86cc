"""Dynamic Shift-Max for CPUs, in C++."""
from functools import cache
from typing import Optional

import torch
from torch import Tensor

from .cpp_function import TYPES, CppFunction
from .deferred import reference_gradients, wants_reference
from .shift_max_formula import partners, reference_shift_max

SEGMENT = 1024  # positions per task for channels last

# Sums over positions come in P parts of each sample.
FORWARD = CppFunction('shift_max_forward', 'x~=N*C*S a=N*K*J*C:sum b?=N*K*C:sum partner=J*C:index y~=N*C*S',
                      'N C S J K P segment')
BACKWARD = CppFunction('shift_max_backward', 'x~=N*C*S a=N*K*J*C:sum b?=N*K*C:sum partner=J*C:index inverse=J*C:index '
                       'g~=N*C*S gx?~=N*C*S ga?=N*P*K*J*C:sum gb?=N*P*K*C:sum', 'N C S J K P segment')


@cache
def both_ways(channels: int, groups: int, shifts: int, shift: str) -> tuple[Tensor, Tensor]:
    """Return the partner of each channel for every shift j, and the inverse permutation; both (J, C)."""
    with torch.inference_mode(False):  # the result is cached and may be used outside inference mode
        partner = partners(channels, groups, shifts, shift)
        return partner, partner.argsort(1).contiguous()


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the memory format that the C++ code uses for ``x``."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


class CompiledShiftMax(torch.autograd.Function):
    """C++ implementation. Saves the input, the coefficients and the bias."""

    @staticmethod
    def forward(ctx, x: Tensor, coefficients: Tensor, bias: Optional[Tensor], groups: int, shift: str) -> Tensor:
        ctx.save_for_backward(x, coefficients, bias)
        ctx.settings = groups, shift
        layout = memory_format(x)
        x = x.contiguous(memory_format=layout)
        a, b, sizes = arguments(x, coefficients, bias, layout)
        partner, _ = both_ways(x.shape[1], groups, coefficients.shape[2], shift)
        y = torch.empty_like(x)
        FORWARD(x.dtype, (x, a, b, partner, y), sizes)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        x, coefficients, bias = ctx.saved_tensors
        groups, shift = ctx.settings
        if wants_reference(gradient):
            return *reference_gradients(with_bias, (x, coefficients, bias), (gradient, ), groups, shift), None, None
        layout = memory_format(x)
        x, gradient = (t.contiguous(memory_format=layout) for t in (x, gradient))
        a, b, sizes = arguments(x, coefficients, bias, layout)
        n, fusions, shifts, c = coefficients.shape
        parts = sizes[5]
        of_x, of_coefficients, of_bias, *_ = ctx.needs_input_grad
        gx = torch.empty_like(x) if of_x else None
        ga = a.new_empty(n, parts, fusions, shifts, c) if of_coefficients else None
        gb = a.new_empty(n, parts, fusions, c) if of_bias else None
        BACKWARD(x.dtype, (x, a, b, *both_ways(c, groups, shifts, shift), gradient, gx, ga, gb), sizes)
        sums = (None if g is None else (g.squeeze(1) if parts == 1 else g.sum(1)).to(x.dtype) for g in (ga, gb))
        return gx, *sums, None, None


def with_bias(x: Tensor, coefficients: Tensor, bias: Optional[Tensor], groups: int, shift: str) -> Tensor:
    return reference_shift_max(x, coefficients, groups, shift, bias)


def arguments(x: Tensor, coefficients: Tensor, bias: Optional[Tensor],
              layout: torch.memory_format) -> tuple[Tensor, Optional[Tensor], tuple[int, ...]]:
    """Return the arguments of the C++ functions: coefficients and bias in the compute type, and the sizes."""
    n, c, h, w = x.shape
    a, b = (None if t is None else t.to(TYPES[x.dtype][1]).contiguous() for t in (coefficients, bias))
    parts, segment = (-(-h * w // SEGMENT), SEGMENT) if layout == torch.channels_last else (1, 0)
    return a, b, (n, c, h * w, coefficients.shape[2], coefficients.shape[1], parts, segment)
