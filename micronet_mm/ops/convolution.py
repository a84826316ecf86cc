"""The convolutions of MicroNet: depthwise along one axis (section 3.2) and pointwise in groups (section 3.1).

Each is one half of a micro-factorized convolution.
"""
from functools import partial
from math import isfinite
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .compiled import has_code
from .cpp_function import CppFunction
from .deferred import CLAMPS, Deferred, can_defer, reference_gradients, settle, value, wants_reference

Pair = tuple[int, int]
SEGMENT = 4096  # positions per task of a pointwise convolution

# Sums over positions are returned in P parts per sample.
LINE_FORWARD = CppFunction(
    'line_conv_forward', 'raw=N*C*H*W scale?=C shift?=C order?=C:index w=C*M*k y=N*C*M*h*w mean=N*C*M squares=N*C*M',
    'N C M H W h w k stride vertical', clamps=True)
LINE_BACKWARD = CppFunction(
    'line_conv_backward', 'raw=N*C*H*W scale?=C shift?=C order?=C:index w=C*M*k g=N*C*M*h*w y?=N*C*M*h*w a?=N*C*M '
    'b?=C*M gx?=N*C*H*W g_w?=N*C*M*k g_scale?=N*C g_shift?=N*C', 'N C M H W h w k stride vertical', clamps=True)
POINTWISE_FORWARD = CppFunction(
    'pointwise_forward', 'raw=N*I*G*S scale?=I*G shift?=I*G order?=I*G:index w=I*O*G y=N*O*G*S mean=N*P*O*G '
    'squares=N*P*O*G', 'N I O G S P segment', clamps=True)
POINTWISE_BACKWARD = CppFunction(
    'pointwise_backward', 'raw=N*I*G*S scale?=I*G shift?=I*G order?=I*G:index w=I*O*G g=N*O*G*S y?=N*O*G*S a?=N*O*G '
    'b?=O*G gx?=N*I*G*S g_w?=N*P*I*O*G g_scale?=N*P*I*G g_shift?=N*P*I*G', 'N I O G S P segment', clamps=True)
JOIN_MOMENTS = CppFunction('join_moments', 'mean=N*P*C squares=N*P*C row_mean=N*C variance=C', 'N P C S step')


class Moments(NamedTuple):
    """Mean and variance of the output (N, C, H, W) of a convolution.

    Attributes:
        mean: (N, C), mean over the positions.
        variance: (C), variance over samples and positions, around their common mean.
    """
    mean: Tensor
    variance: Tensor


def line_conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Apply a zero-padded depthwise convolution along one axis.

    Use C++ on CPUs if the inputs fit, PyTorch's convolution otherwise. Both save ``x`` and ``weight`` for backward.

    Args:
        x: (N, C, H, W).
        weight: (C * M, 1, k, 1) to filter columns or (C * M, 1, 1, k) to filter rows, with M filters per channel.
            k is odd and at least 3.
        stride: stride along the axis of the filter.

    Returns:
        (N, C * M, H', W'). The size along the filter is divided by the stride and rounded up.

    Example:
        >>> line_conv(torch.rand(1, 4, 8, 8), torch.rand(8, 1, 3, 1), stride=2).shape
        torch.Size([1, 8, 4, 8])
    """
    if can_defer(x) and is_line(x, weight) and stride > 0:
        return CompiledConv.apply(x, None, None, weight, 'none', None, stride, x.shape[1], False)
    return reference_line_conv(x, weight, stride)


def reference_line_conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Compute :func:`line_conv` with PyTorch's convolution."""
    *_, height, width = weight.shape
    steps = (1, stride) if height == 1 else (stride, 1)
    return F.conv2d(x, weight, None, steps, (height // 2, width // 2), groups=x.shape[1])


def conv_with_moments(x: Deferred, weight: Tensor, stride: Pair = (1, 1), padding: Pair = (0, 0),
                      groups: int = 1) -> tuple[Tensor, Moments]:
    """Convolve a deferred input without a bias, and return the output with its moments.

    Use C++ for convolutions along one axis and pointwise convolutions, PyTorch otherwise. For backward, C++ saves
    ``x.raw`` with its scale and shift, the weight, and the output.

    Args:
        x: deferred input of shape (N, C, H, W).
        weight: (C', C / groups, k, k').
        stride: stride for rows and columns.
        padding: zero padding for rows and columns.
        groups: number of groups.

    Returns:
        Output (N, C', H', W') and its moments.
    """
    if is_compiled(x.raw, weight, stride, padding, groups):
        y, mean, variance = CompiledConv.apply(*x[:3], weight, x.clamp, x.order, max(stride), groups, True)
        return y, Moments(mean, variance)
    y = F.conv2d(settle(x), weight, None, stride, padding, groups=groups)
    return y, moments_of(y)


def moments_of(y: Tensor) -> Moments:
    return Moments(y.mean((2, 3)), y.var((0, 2, 3), correction=0))


def is_compiled(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, groups: int) -> bool:
    """Whether the C++ code supports this convolution: depthwise along one axis, or pointwise in groups.

    Padding must be half the kernel size, rounded down. Along an axis with kernel size 1, the stride must be 1.
    """
    kernel = tuple(weight.shape[2:])
    along = padding == tuple(size // 2 for size in kernel) and all(
        step == 1 if size == 1 else step > 0 for step, size in zip(stride, kernel))
    if kernel == (1, 1):
        return (along and is_alike(x, weight) and x.shape[1] == weight.shape[1] * groups
                and weight.shape[0] % groups == 0 and weight.numel() > 0)
    return along and groups == x.shape[1] and is_line(x, weight)


def is_line(x: Tensor, weight: Tensor) -> bool:
    """Whether the C++ code supports a depthwise convolution with this weight."""
    *_, width, size = sorted(weight.shape[1:])
    return (is_alike(x, weight) and weight.dim() == 4 and weight.shape[1] == width == 1
            and weight.shape[0] % x.shape[1] == 0 and weight.numel() > 0 and has_code('line_conv', size))


def is_alike(x: Tensor, *others: Tensor) -> bool:
    """Whether these are plain tensors with the type and device of ``x``."""
    return all(type(t) in (Tensor, torch.nn.Parameter) and t.dtype == x.dtype and t.device == x.device for t in others)


def reference_conv(raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], weight: Tensor, clamp: str,
                   order: Optional[Tensor], stride: int, groups: int, with_moments: bool) -> tuple:
    """Compute :class:`CompiledConv` with PyTorch operations."""
    x = value(raw, scale, shift, clamp, order)
    y = F.conv2d(x, weight, groups=groups) if weight[0, 0].numel() == 1 else reference_line_conv(x, weight, stride)
    return (y, *moments_of(y)) if with_moments else y


class CompiledConv(torch.autograd.Function):
    """C++ implementation: convolve a deferred input, and compute the moments of the output if requested.

    Let a and b be the gradients of mean and variance, S the values in a plane, and M the values in a channel. The
    moments add a / S + 2 b (y - mean) / M to the incoming gradient of y. Backward adds this term as it reads the
    gradient, and never stores the sum.
    """

    @staticmethod
    def forward(ctx, raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], weight: Tensor, clamp: str,
                order: Optional[Tensor], stride: int, groups: int, with_moments: bool) -> tuple:
        ctx.settings = clamp, order, stride, groups, with_moments
        ctx.set_materialize_grads(False)
        inputs, weights = raw.contiguous(), weight.contiguous()
        forward, _, sizes, shape, parts, step = plan(inputs, weights, stride, groups)
        n, c = shape[:2]
        y = inputs.new_empty(shape)
        means, squares = (inputs.new_empty(n, parts, c) for _ in range(2))
        forward(raw.dtype, (inputs, scale, shift, order, weights, y, means, squares), sizes, CLAMPS[clamp])
        if not with_moments:
            ctx.save_for_backward(raw, scale, shift, weight)
            return y
        mean, variance = inputs.new_empty(n, c), inputs.new_empty(c)
        JOIN_MOMENTS(raw.dtype, (means, squares, mean, variance), (n, parts, c, shape[2] * shape[3], step))
        ctx.save_for_backward(raw, scale, shift, weight, y, mean)
        return y, mean, variance

    @staticmethod
    def backward(ctx, gradient: Optional[Tensor], *of_moments: Optional[Tensor]) -> tuple:
        raw, scale, shift, weight, *output = ctx.saved_tensors
        clamp, order, stride, groups, _ = ctx.settings
        rest = (None, ) * len(ctx.settings)
        by_reference = partial(reference_gradients, reference_conv, (raw, scale, shift, weight),
                               (gradient, *of_moments), *ctx.settings)
        if wants_reference(gradient, *of_moments):
            return *by_reference(), *rest
        inputs, weights = raw.contiguous(), weight.contiguous()
        _, backward, sizes, shape, parts, _ = plan(inputs, weights, stride, groups)
        gradient = inputs.new_zeros(shape) if gradient is None else gradient.contiguous()
        y, constant, slope = with_moment_gradients(output, of_moments, shape)
        n, c = raw.shape[:2]
        of_raw, of_scale, of_shift, of_weight, *_ = ctx.needs_input_grad
        gx = torch.empty_like(inputs) if of_raw else None
        g_weight = inputs.new_empty(n * parts, *weight.shape) if of_weight else None
        sums = [inputs.new_empty(n * parts, c) for _ in range(2)] if of_scale or of_shift else (None, None)
        backward(raw.dtype, (inputs, scale, shift, order, weights, gradient, y, constant, slope, gx, g_weight, *sums),
                 sizes, CLAMPS[clamp])
        found = gx, *(None if g is None else g.sum(0) for g in (*sums, g_weight))
        # A filter along one axis multiplies the input by zeros between outputs and beyond the border. The product is
        # not zero if the input is infinite or NaN.
        is_line = weight[0, 0].numel() > 1
        if is_line and of_weight and not isfinite(found[3].sum()):
            found = by_reference()
        return *found, *rest


def plan(x: Tensor, weight: Tensor, stride: int, groups: int) -> tuple[CppFunction, CppFunction, tuple[int, ...],
                                                                      tuple[int, ...], int, int]:
    """Return C++ forward and backward, their sizes, the output shape, and the number and length of moment parts."""
    n, c, h, w = x.shape
    out, _, kernel_h, kernel_w = weight.shape
    if kernel_h == kernel_w == 1:
        parts = -(-h * w // SEGMENT)
        sizes = (n, c // groups, out // groups, groups, h * w, parts, SEGMENT)
        return POINTWISE_FORWARD, POINTWISE_BACKWARD, sizes, (n, out, h, w), parts, SEGMENT
    vertical = kernel_h > 1
    height, width = (-(-h // stride), w) if vertical else (h, -(-w // stride))
    sizes = (n, c, out // c, h, w, height, width, max(kernel_h, kernel_w), stride, vertical)
    return LINE_FORWARD, LINE_BACKWARD, sizes, (n, out, height, width), 1, 1


def with_moment_gradients(output: list[Tensor], gradients: tuple[Optional[Tensor], ...],
                          shape: tuple[int, ...]) -> tuple[Optional[Tensor], ...]:
    """Return y, and the constants (N, C) and slopes (C) that the moments add to its gradient, or three times None."""
    if all(gradient is None for gradient in gradients):
        return None, None, None
    y, mean = output
    of_mean, of_variance = gradients
    n, c, h, w = shape
    slope = y.new_zeros(c) if of_variance is None else of_variance * (2 / (n * h * w))
    constant = -slope * mean.mean(0)
    constant = constant.expand(n, c) if of_mean is None else constant + of_mean / (h * w)
    return y, constant.contiguous(), slope.contiguous()
