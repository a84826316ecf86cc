"""Tensors whose normalization, activation and shuffle are still to come.

Inside a Micro-Block every convolution is followed by BN, an activation and a shuffle. Each of these by itself reads
and writes the whole tensor, and backward would keep a copy from before and after it. On CPUs the layers of this
package pass a :class:`Deferred` on instead: what the convolution gave, and what is to be done to it. The C++ operator
that reads it next does that on the way, in forward and again in backward, so that only what the convolutions gave is
kept.

A chain of layers begins with :func:`defer` and ends with :func:`settle`. What is called as a module gets a tensor.
"""
from collections.abc import Callable
from functools import cache
from math import nan
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from micronet_mm.ops.dispatch import must_use_reference

from .channels import channel_shuffle
from .compiled import library
from .cpp_function import CppFunction

TYPES = (torch.float32, torch.float64)  # that there is C++ code for
CLAMPS = dict(none=(nan, nan), relu=(0, nan), relu6=(0, 6))  # nothing is below or above NaN

FORWARD = CppFunction('settle_forward', 'raw=N*C*S scale?=C shift?=C order?=C:index shortcut?=N*C*S y=N*C*S', 'N C S',
                      clamps=True)
BACKWARD = CppFunction('settle_backward', 'raw=N*C*S scale?=C shift?=C order?=C:index g=N*C*S gx?=N*C*S g_scale?=N*C '
                       'g_shift?=N*C', 'N C S', clamps=True)


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
    return (not must_use_reference(x) and x.is_cpu and x.dtype in TYPES and x.dim() == 4 and x.numel() > 0
            and not torch.is_autocast_enabled('cpu') and library() is not None)


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
    with torch.inference_mode(False):  # it is kept, and of use to others
        order = torch.arange(channels, device='cpu').view(1, -1)  # whatever the default device
        for groups in shuffles:
            order = channel_shuffle(order, groups)
        return order[0].contiguous()


def reference_gradients(function: Callable, inputs: tuple, gradients: tuple, *settings: Any) -> tuple:
    """The gradients of ``function(*inputs, *settings)`` by PyTorch's operations, None for inputs that need none.

    They can be differentiated again where that is asked for.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, as one input may depend on another: the way from the outputs ends at these.
        inputs = [x if x is None else x.view_as(x) for x in inputs]
        outputs = function(*inputs, *settings)
    outputs = outputs if isinstance(outputs, tuple) else (outputs, )
    pairs = [(y, g) for y, g in zip(outputs, gradients) if g is not None]
    needed = [x for x in inputs if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad([y for y, _ in pairs], needed, [g for _, g in pairs], create_graph=again,
                                     allow_unused=True))
    return tuple(next(found) if x is not None and x.requires_grad else None for x in inputs)


def wants_reference(*gradients: Optional[Tensor]) -> bool:
    """Whether backward has to be made of PyTorch's operations: to be differentiated again, or for somebody to see."""
    return torch.is_grad_enabled() or must_use_reference(*(g for g in gradients if g is not None))


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
        FORWARD(raw.dtype, (raw, scale, shift, order, shortcut, y), (n, c, h * w), CLAMPS[clamp])
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        raw, scale, shift, shortcut = ctx.saved_tensors
        if wants_reference(gradient):
            found = reference_gradients(settled, (raw, scale, shift, shortcut), (gradient, ), *ctx.settings)
            return *found, None, None
        clamp, order = ctx.settings
        of_raw, of_scale, of_shift, of_shortcut, *_ = ctx.needs_input_grad
        gradient = gradient.contiguous()
        n, c, h, w = raw.shape
        gx = torch.empty_like(raw) if of_raw else None
        sums = [raw.new_empty(n, c) for _ in range(2)] if of_scale or of_shift else (None, None)
        if of_raw or sums[0] is not None:
            BACKWARD(raw.dtype, (raw, scale, shift, order, gradient, gx, *sums), (n, c, h * w), CLAMPS[clamp])
        return gx, *(None if g is None else g.sum(0) for g in sums), gradient if of_shortcut else None, None, None
