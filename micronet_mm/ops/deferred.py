"""Tensors with pending normalization, activation and shuffle.

Inside a Micro-Block every convolution is followed by BN, an activation and a shuffle. Run separately, each step reads
and writes the whole tensor, and backward keeps copies of its input and output. On CPUs the layers of this package pass
a :class:`Deferred` instead: the raw output of the convolution and the pending steps. The next C++ operator applies the
pending steps as it reads the tensor, in forward and again in backward. So only the convolution outputs are kept.

A chain of layers begins with :func:`defer` and ends with :func:`settle`. A layer that is called as a module receives a
tensor.
"""
from collections.abc import Callable
from functools import cache
from math import nan
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from .channels import channel_shuffle
from .compiled import library
from .cpp_function import CppFunction
from .dispatch import must_use_reference

TYPES = (torch.float32, torch.float64)  # supported by the C++ code
CLAMPS = dict(none=(nan, nan), relu=(0, nan), relu6=(0, 6))  # no value is below or above NaN: no bound

FORWARD = CppFunction('settle_forward', 'raw=N*C*S scale?=C shift?=C order?=C:index shortcut?=N*C*S y=N*C*S', 'N C S',
                      clamps=True)
BACKWARD = CppFunction('settle_backward', 'raw=N*C*S scale?=C shift?=C order?=C:index g=N*C*S gx?=N*C*S g_scale?=N*C '
                       'g_shift?=N*C', 'N C S', clamps=True)


class Deferred(NamedTuple):
    """A tensor with pending normalization, activation and shuffle, in this order.

    Attributes:
        raw: (N, C, H, W), contiguous.
        scale: (C), or None for no normalization.
        shift: (C), given together with ``scale``.
        clamp: activation: 'none', 'relu' or 'relu6'.
        order: (C), the raw channel that each output channel reads. None means no shuffle.
        mean: (N, C), the mean of ``raw`` over its positions, if known.
    """
    raw: Tensor
    scale: Optional[Tensor] = None
    shift: Optional[Tensor] = None
    clamp: str = 'none'
    order: Optional[Tensor] = None
    mean: Optional[Tensor] = None

    def activated(self, clamp: str) -> 'Deferred':
        """Return a copy with the activation ``clamp``; settle first if an activation or a shuffle is pending."""
        return (self if self.is_affine else Deferred(settle(self)))._replace(clamp=clamp)

    def shuffled(self, groups: tuple[int, ...]) -> 'Deferred':
        """Return a copy with more channel shuffles, applied one by one after the pending steps."""
        if not groups:
            return self
        order = order_of(self.raw.shape[1], groups)
        return self._replace(order=order if self.order is None else self.order[order])

    @property
    def is_affine(self) -> bool:
        """Whether only ``raw * scale + shift`` is pending."""
        return self.clamp == 'none' and self.order is None


def defer(x: Tensor) -> Tensor:
    """Return ``x`` as a :class:`Deferred` with nothing pending if the C++ operators support it, else ``x``."""
    if torch.jit.is_scripting():
        return x
    else:  # TorchScript skips this branch
        return Deferred(x.contiguous()) if can_defer(x) else x


def can_defer(x: Tensor) -> bool:
    return (not must_use_reference(x) and x.is_cpu and x.dtype in TYPES and x.dim() == 4 and x.numel() > 0
            and not torch.is_autocast_enabled('cpu') and library() is not None)


def settle(x: Tensor, shortcut: Optional[Tensor] = None) -> Tensor:
    """Apply the pending steps of ``x``, add ``shortcut``, and return a tensor."""
    if isinstance(x, Deferred):
        if shortcut is None and x.scale is None and x.is_affine:
            return x.raw
        return Settle.apply(x.raw, x.scale, x.shift, shortcut, x.clamp, x.order)
    return x if shortcut is None else x + shortcut


def value(raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], clamp: str,
          order: Optional[Tensor]) -> Tensor:
    """Return the value of a :class:`Deferred` with these fields, computed by PyTorch operations."""
    x = raw if scale is None else raw * scale[:, None, None] + shift[:, None, None]
    if clamp != 'none':
        x = torch.relu(x) if clamp == 'relu' else torch.nn.functional.relu6(x)
    return x if order is None else x[:, order]


@cache
def order_of(channels: int, shuffles: tuple[int, ...]) -> Tensor:
    """Return the source channel of every channel after channel shuffles with these group numbers, (C)."""
    with torch.inference_mode(False):  # the result is cached and may be used outside inference mode
        order = torch.arange(channels, device='cpu').view(1, -1)  # ignore the default device
        for groups in shuffles:
            order = channel_shuffle(order, groups)
        return order[0].contiguous()


def reference_gradients(function: Callable, inputs: tuple, gradients: tuple, *settings: Any) -> tuple:
    """Return the gradients of ``function(*inputs, *settings)``, computed by PyTorch operations.

    The gradient is None for an input that needs none. If grad mode is enabled, the gradients can be differentiated
    again.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # One input may depend on another. The graph from the outputs ends at these views.
        inputs = [x if x is None else x.view_as(x) for x in inputs]
        outputs = function(*inputs, *settings)
    outputs = outputs if isinstance(outputs, tuple) else (outputs, )
    pairs = [(y, g) for y, g in zip(outputs, gradients) if g is not None]
    needed = [x for x in inputs if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad([y for y, _ in pairs], needed, [g for _, g in pairs], create_graph=again,
                                     allow_unused=True))
    return tuple(next(found) if x is not None and x.requires_grad else None for x in inputs)


def wants_reference(*gradients: Optional[Tensor]) -> bool:
    """Whether backward must use PyTorch operations: for double backward, or because PyTorch watches the operations."""
    return torch.is_grad_enabled() or must_use_reference(*(g for g in gradients if g is not None))


def settled(raw: Tensor, scale: Optional[Tensor], shift: Optional[Tensor], shortcut: Optional[Tensor], clamp: str,
            order: Optional[Tensor]) -> Tensor:
    x = value(raw, scale, shift, clamp, order)
    return x if shortcut is None else x + shortcut


class Settle(torch.autograd.Function):
    """Implement :func:`settle` in C++. Saves ``raw``, ``scale`` and ``shift``."""

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
