"""Depthwise convolution along one axis, the halves of a micro-factorized depthwise convolution (section 3.2)."""
import torch
import torch.nn.functional as F
from torch import Tensor

from .compiled import call, library, unwatched

NAMES = {torch.float32: 'float32', torch.float64: 'float64'}
KERNELS = (3, 5, 7)  # that C++ has code for


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
    fits = (unwatched(x, weight) and x.dtype in NAMES and weight.dtype == x.dtype and x.dim() == 4
            and max(weight.shape[2:]) in KERNELS and x.numel() > 0)
    if fits and library() is not None:
        return CompiledLineConv.apply(x, weight, stride)
    return reference_line_conv(x, weight, stride)


def reference_line_conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """:func:`line_conv` by PyTorch's convolution."""
    kernel = tuple(weight.shape[2:])
    steps = tuple(stride if size > 1 else 1 for size in kernel)
    return F.conv2d(x, weight, None, steps, tuple(size // 2 for size in kernel), groups=x.shape[1])


class CompiledLineConv(torch.autograd.Function):
    """The C++ implementation. Saves the input and the weight."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        x, weight = x.contiguous(), weight.contiguous()
        n, c, h, w = x.shape
        vertical = weight.shape[2] > 1
        size = (-(-h // stride), w) if vertical else (h, -(-w // stride))
        y = x.new_empty(n, weight.shape[0], *size)
        call(f'line_conv_forward_{NAMES[x.dtype]}', (x, weight, y), n, c, weight.shape[0] // c, h, w,
             max(weight.shape[2:]), stride, vertical)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            y = reference_line_conv(x, weight, ctx.stride)
            needed = [t for t in (x, weight) if t.requires_grad]
            found = iter(torch.autograd.grad(y, needed, gradient, create_graph=True))
            return *(next(found) if t.requires_grad else None for t in (x, weight)), None
        x, contiguous, gradient = x.contiguous(), weight.contiguous(), gradient.contiguous()
        n, c, h, w = x.shape
        gx, gw = torch.empty_like(x), torch.empty_like(contiguous)
        call(f'line_conv_backward_{NAMES[x.dtype]}', (x, contiguous, gradient, gx, gw), n, c, weight.shape[0] // c, h,
             w, max(weight.shape[2:]), ctx.stride, weight.shape[2] > 1)
        return gx, gw, None
