"""Tensors whose normalization, activation and shuffle are still to come.

Inside a Micro-Block every convolution is followed by BN, an activation and a shuffle. Each of these by itself reads
and writes the whole tensor, and backward would keep a copy from before and after it. On CPUs the layers of this
package pass a :class:`Deferred` on instead: what the convolution gave, and what is to be done to it. The C++ operator
that reads it next does that on the way, in forward and again in backward, so that only what the convolutions gave is
kept.

A block begins with :func:`defer` and ends with :func:`settle`; layers that are given a tensor return a tensor.
"""
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from .channels import channel_shuffle
from .compiled import NAMES, call, is_autocasting, library, unwatched

CLAMPS = dict(none=0, relu=1, relu6=2)


class Deferred(NamedTuple):
    """A tensor still to be normalized, activated and shuffled, in this order.

    Attributes:
        raw: (N, C, H, W), contiguous.
        scale: (C), or None for no normalization.
        shift: (C), with ``scale``.
        clamp: the activation: 'none', 'relu' or 'relu6'.
        order: (C), the raw channel that stands at each place, or None where nothing was shuffled.
        mean: (N, C), the mean of ``raw`` over its positions, if it is known.
    """
    raw: Tensor
    scale: Optional[Tensor] = None
    shift: Optional[Tensor] = None
    clamp: str = 'none'
    order: Optional[Tensor] = None
    mean: Optional[Tensor] = None

    def activated(self, clamp: str) -> 'Deferred':
        """With ``clamp`` as its activation; what is pending behind the place of an activation is settled first."""
        return (self if self.is_affine else Deferred(settle(self)))._replace(clamp=clamp)

    def shuffled(self, groups: tuple[int, ...]) -> 'Deferred':
        """With channel shuffles, one after the other, behind what is pending."""
        if not groups:
            return self
        order = order_of(self.raw.shape[1], groups)
        return self._replace(order=order if self.order is None else self.order[order])

    @property
    def is_affine(self) -> bool:
        """Whether it is ``raw * scale + shift`` and nothing else."""
        return self.clamp == 'none' and self.order is None


def defer(x: Tensor) -> Tensor:
    """``x`` as a :class:`Deferred` with nothing pending, where the C++ operators can work on it; elsewhere ``x``."""
    if torch.jit.is_scripting():
        return x
    else:  # which TorchScript does not look into
        return Deferred(x.contiguous()) if can_defer(x) else x


def can_defer(x: Tensor) -> bool:
    return (unwatched(x) and x.is_cpu and x.dtype in NAMES and x.dim() == 4 and x.numel() > 0
            and not is_autocasting() and library() is not None)


def settle(x: Tensor, shortcut: Optional[Tensor] = None) -> Tensor:
    """What ``x`` stands for, a tensor, plus ``shortcut``."""
    if isinstance(x, Deferred):
        if shortcut is None and x.scale is None and x.is_affine:
            return x.raw
        return Settle.apply(x.raw, x.scale, x.shift, shortcut, x.clamp, x.order)
    return x if shortcut is None else x + shortcut


def value(raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], clamp: str,
          order: Optional[Tensor]) -> Tensor:
    """What a :class:`Deferred` of these stands for, by PyTorch's operations."""
    x = raw if scale is None else raw * scale[:, None, None] + shift[:, None, None]
    if clamp != 'none':
        x = torch.relu(x) if clamp == 'relu' else torch.nn.functional.relu6(x)
    return x if order is None else x[:, order]


@cache
def order_of(channels: int, shuffles: tuple[int, ...]) -> Tensor:
    """For every channel behind shuffles of so many groups its number before them, (C)."""
    order = torch.arange(channels, device='cpu').view(1, -1)  # whatever the default device
    for groups in shuffles:
        order = channel_shuffle(order, groups)
    return order[0].contiguous()


def differentiable_gradients(function: Callable, inputs: tuple, gradients: tuple, *settings: Any) -> tuple:
    """The gradients of ``function(*inputs, *settings)`` as functions that can be differentiated again; None for inputs
    that need none."""
    with torch.enable_grad():
        outputs = function(*inputs, *settings)
    outputs = outputs if isinstance(outputs, tuple) else (outputs, )
    pairs = [(y, g) for y, g in zip(outputs, gradients) if g is not None]
    needed = [x for x in inputs if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad([y for y, _ in pairs], needed, [g for _, g in pairs], create_graph=True,
                                     allow_unused=True))
    return tuple(next(found) if x is not None and x.requires_grad else None for x in inputs)


def settled(raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], shortcut: Optional[Tensor], clamp: str,
            order: Optional[Tensor]) -> Tensor:
    x = value(raw, scale, shift, clamp, order)
    return x if shortcut is None else x + shortcut


class Settle(torch.autograd.Function):
    """:func:`settle` in C++. Saves ``raw``, ``scale`` and ``shift``."""

    @staticmethod
    def forward(ctx, raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], shortcut: Optional[Tensor],
                clamp: str, order: Optional[Tensor]) -> Tensor:
        ctx.save_for_backward(raw, scale, shift, shortcut if shortcut is not None and shortcut.requires_grad else None)
        ctx.settings = clamp, order
        n, c, h, w = raw.shape
        y = torch.empty_like(raw)
        shortcut = None if shortcut is None else shortcut.contiguous()
        call(f'settle_forward_{NAMES[raw.dtype]}', (raw, scale, shift, order, shortcut, y),
             CLAMPS[clamp], n, c, h * w)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        raw, scale, shift, shortcut = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            found = differentiable_gradients(settled, (raw, scale, shift, shortcut), (gradient, ), *ctx.settings)
            return *found, None, None
        clamp, order = ctx.settings
        gradient = gradient.contiguous()
        n, c, h, w = raw.shape
        gx = torch.empty_like(raw)
        g_scale, g_shift = raw.new_empty(n, c), raw.new_empty(n, c)
        call(f'settle_backward_{NAMES[raw.dtype]}',
             (raw, scale, shift, order, gradient, gx, g_scale, g_shift), CLAMPS[clamp], n, c, h * w)
        g_scale, g_shift = (None, None) if scale is None else (g_scale.sum(0), g_shift.sum(0))
        return gx, g_scale, g_shift, None if shortcut is None else gradient, None, None
