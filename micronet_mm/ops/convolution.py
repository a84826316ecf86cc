"""The convolutions of MicroNet, which are the halves of micro-factorized ones: depthwise along one axis (section 3.2)
and pointwise in groups (section 3.1)."""
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .compiled import NAMES, call
from .deferred import CLAMPS, Deferred, can_defer, differentiable_gradients, settle, value

Pair = tuple[int, int]
KERNELS = (3, 5, 7)  # of line convolutions that C++ has code for
SEGMENT = 4096  # positions that a pointwise convolution takes as one task


class Moments(NamedTuple):
    """Of a convolution's output (N, C, H, W).

    Attributes:
        mean: (N, C), over the positions.
        variance: (C), over samples and positions, around the mean over both.
    """
    mean: Tensor
    variance: Tensor


def line_conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Convolve every channel with filters of its own along one axis, zeros around.

    C++ for CPUs where it fits, PyTorch's convolution elsewhere; for backward both save ``x`` and ``weight``.

    Args:
        x: (N, C, H, W).
        weight: (C * M, 1, k, 1) to filter columns or (C * M, 1, 1, k) to filter rows; M filters a channel, k odd and
            at least 3.
        stride: along the axis of the filter.

    Returns:
        (N, C * M, H', W'), the axis of the filter divided by the stride and rounded up.

    Example:
        >>> line_conv(torch.rand(1, 4, 8, 8), torch.rand(8, 1, 3, 1), stride=2).shape
        torch.Size([1, 8, 4, 8])
    """
    if can_defer(x) and is_line(x, weight):
        return CompiledConv.apply(x, None, None, weight, 'none', None, stride, x.shape[1], False)
    return reference_line_conv(x, weight, stride)


def reference_line_conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """:func:`line_conv` by PyTorch's convolution."""
    height, width = weight.shape[2], weight.shape[3]
    steps = (1, stride) if height == 1 else (stride, 1)
    return F.conv2d(x, weight, None, steps, (height // 2, width // 2), groups=x.shape[1])


def conv_with_moments(x: Deferred, weight: Tensor, stride: Pair = (1, 1), padding: Pair = (0, 0),
                      groups: int = 1) -> tuple[Tensor, Moments]:
    """Convolve what ``x`` stands for, without a bias, and take the moments of the result.

    C++ where the convolution is a line or a pointwise one, PyTorch elsewhere. For backward the C++ saves ``x.raw`` and
    its scale and shift, the weight, and the output.

    Args:
        x: of shape (N, C, H, W).
        weight: (C', C / groups, k, k').
        stride: of the convolution.
        padding: zeros around, rows and columns.
        groups: of the convolution.

    Returns:
        (N, C', H', W'), and its moments.
    """
    if is_compiled(x.raw, weight, stride, padding, groups):
        y, mean, variance = CompiledConv.apply(*x[:3], weight, x.clamp, x.order, max(stride), groups, True)
        return y, Moments(mean, variance)
    y = F.conv2d(settle(x), weight, None, stride, padding, groups=groups)
    return y, moments_of(y)


def moments_of(y: Tensor) -> Moments:
    return Moments(y.mean((2, 3)), y.var((0, 2, 3), correction=0))


def is_compiled(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, groups: int) -> bool:
    """Whether there is C++ code for this convolution: of a line or pointwise, as far as it goes in steps and beyond the
    border along the line only."""
    kernel = tuple(weight.shape[2:])
    along = padding == tuple(size // 2 for size in kernel) and all(
        step == 1 for step, size in zip(stride, kernel) if size == 1)
    if kernel == (1, 1):
        return along and is_same_type(x, weight)
    return along and groups == x.shape[1] and is_line(x, weight)


def is_line(x: Tensor, weight: Tensor) -> bool:
    """Whether there is C++ code for a depthwise convolution of this weight."""
    size, width = sorted(weight.shape[2:], reverse=True)
    return is_same_type(x, weight) and weight.shape[1] == width == 1 and size in KERNELS


def is_same_type(x: Tensor, weight: Tensor) -> bool:
    return weight.dtype == x.dtype and type(weight) in (Tensor, torch.nn.Parameter)


def reference_conv(raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], weight: Tensor, clamp: str,
                   order: Optional[Tensor], stride: int, groups: int, with_moments: bool) -> tuple:
    """:class:`CompiledConv` by PyTorch's operations."""
    x = value(raw, scale, shift, clamp, order)
    y = F.conv2d(x, weight, groups=groups) if weight[0, 0].numel() == 1 else reference_line_conv(x, weight, stride)
    return (y, *moments_of(y)) if with_moments else y


class CompiledConv(torch.autograd.Function):
    """The C++ implementation: a convolution of a deferred input, and the moments of its output if wanted.

    With a, b the gradients of mean and variance, the gradient of y is that of its readers + a / S + 2 b (y - mean) / M,
    M values in a channel and S in a plane of it. That is added when it is read, not written.
    """

    @staticmethod
    def forward(ctx, raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], weight: Tensor, clamp: str,
                order: Optional[Tensor], stride: int, groups: int, with_moments: bool) -> tuple:
        ctx.settings = clamp, order, stride, groups, with_moments
        ctx.set_materialize_grads(False)
        inputs, weights = raw.contiguous(), weight.contiguous()
        name, sizes, shape, parts, step = plan(inputs, weights, stride, groups)
        n, c = shape[:2]
        y = inputs.new_empty(shape)
        means, squares = (inputs.new_empty(n, parts, c) for _ in range(2))
        call(f'{name}_forward_{NAMES[raw.dtype]}',
             (inputs, scale, shift, order, weights, y, means, squares), CLAMPS[clamp],
             *sizes)
        if not with_moments:
            ctx.save_for_backward(raw, scale, shift, weight)
            return y
        mean, variance = inputs.new_empty(n, c), inputs.new_empty(c)
        call(f'join_moments_{NAMES[raw.dtype]}', (means, squares, mean, variance), n, parts, c, shape[2] * shape[3],
             step)
        ctx.save_for_backward(raw, scale, shift, weight, y, mean)
        return y, mean, variance

    @staticmethod
    def backward(ctx, gradient: Optional[Tensor], *of_moments: Optional[Tensor]) -> tuple:
        raw, scale, shift, weight, *output = ctx.saved_tensors
        clamp, order, stride, groups, _ = ctx.settings
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            found = differentiable_gradients(reference_conv, (raw, scale, shift, weight), (gradient, *of_moments),
                                             *ctx.settings)
            return *found, *(None for _ in ctx.settings)
        inputs, weights = raw.contiguous(), weight.contiguous()
        name, sizes, shape, parts, _ = plan(inputs, weights, stride, groups)
        gradient = inputs.new_zeros(shape) if gradient is None else gradient.contiguous()
        y, constant, slope = with_moment_gradients(output, of_moments, shape)
        n, c = raw.shape[:2]
        gx = torch.empty_like(inputs)
        g_weight = inputs.new_empty(n * parts, *weight.shape)
        g_scale, g_shift = inputs.new_empty(n * parts, c), inputs.new_empty(n * parts, c)
        call(f'{name}_backward_{NAMES[raw.dtype]}',
             (inputs, scale, shift, order, weights, gradient, y, constant, slope, gx, g_weight, g_scale,
              g_shift), CLAMPS[clamp], *sizes)
        g_scale, g_shift = (None, None) if scale is None else (g_scale.sum(0), g_shift.sum(0))
        return gx, g_scale, g_shift, g_weight.sum(0), *(None for _ in ctx.settings)


def plan(x: Tensor, weight: Tensor, stride: int, groups: int) -> tuple[str, tuple[int, ...], tuple[int, ...], int, int]:
    """The C++ function's name and sizes, the output's shape, and in how many parts of what length the moments come."""
    n, c, h, w = x.shape
    out, _, kernel_h, kernel_w = weight.shape
    if kernel_h == kernel_w == 1:
        parts = -(-h * w // SEGMENT)
        return 'pointwise', (n, c // groups, out // groups, groups, h * w, SEGMENT), (n, out, h, w), parts, SEGMENT
    vertical = kernel_h > 1
    size = (-(-h // stride), w) if vertical else (h, -(-w // stride))
    return 'line_conv', (n, c, out // c, h, w, max(kernel_h, kernel_w), stride, vertical), (n, out, *size), 1, 1


def with_moment_gradients(output: list[Tensor], gradients: tuple[Optional[Tensor], ...],
                          shape: tuple[int, ...]) -> tuple[Optional[Tensor], ...]:
    """y, and the constants (N, C) and slopes (C) on y that the moments add to its gradient; None where nothing is."""
    if all(gradient is None for gradient in gradients):
        return None, None, None
    y, mean = output
    of_mean, of_variance = gradients
    n, c, h, w = shape
    slope = y.new_zeros(c) if of_variance is None else of_variance * (2 / (n * h * w))
    constant = -slope * mean.mean(0)
    constant = constant.expand(n, c) if of_mean is None else constant + of_mean / (h * w)
    return y, constant.contiguous(), slope.contiguous()
