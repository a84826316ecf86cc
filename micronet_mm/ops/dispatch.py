"""Decide whether an operator must use its PyTorch implementation.

PyTorch's dispatcher does not see C++ and Triton kernels. A mode that counts operations, a tracer, a transform or a hook
would get nothing, or a wrong result. Call :func:`must_use_reference` before a native kernel; if it returns True, use
the PyTorch implementation.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from operator import or_
from typing import Optional

import torch
from torch import Tensor, nn
from torch._C import DispatchKey, DispatchKeySet
from torch.autograd import forward_ad
from torch.nn.modules import module as of_all
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

# Dispatch keys of a call with plain tensors. Any other key needs to see the operations: modes, transforms and tracers;
# fake, batched and wrapped tensors; other kinds of memory. Autocast is included because it only changes types.
PLAIN = reduce(or_, (DispatchKeySet(key).raw_repr() for key in (
    DispatchKey.BackendSelect, DispatchKey.ADInplaceOrView, DispatchKey.CPU, DispatchKey.CUDA, DispatchKey.AutogradCPU,
    DispatchKey.AutogradCUDA, DispatchKey.AutocastCPU, DispatchKey.AutocastCUDA)))

_reference_only = ContextVar('reference_only', default=False)


@contextmanager
def reference_only() -> Iterator[None]:
    """Make every operator use its PyTorch implementation inside the context, for comparison or inspection."""
    token = _reference_only.set(True)
    try:
        yield
    finally:
        _reference_only.reset(token)


def must_use_reference(*tensors: Tensor) -> bool:
    """Whether PyTorch must see the operations on these tensors, judged by dispatch keys and active modes."""
    # Check for a compiler first: it cannot trace the other checks.
    if torch.compiler.is_compiling() or _reference_only.get() or has_modes():
        return True
    keys = torch._C._dispatch_tls_local_include_set()
    for x in tensors:
        if type(x) not in (Tensor, nn.Parameter):
            return True
        keys = keys | torch._C._dispatch_keys(x)
    return bool(keys.raw_repr() & ~PLAIN)


def has_modes() -> bool:
    """Whether a mode without a dispatch key is active: forward-mode differentiation or a function mode.

    ``with torch.device(...)`` does not count: its mode only changes factory functions.
    """
    return forward_ad._current_level >= 0 or (bool(torch._C._len_torch_function_stack()) and not all(
        isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack()))


# Modules that define classes with a known computation.
KNOWN = ('micronet_mm.', 'torch.nn.modules.', 'mmcv.cnn.', 'mmengine.model.', 'mmengine.utils.')
# Attributes that a subclass may redefine without changing the computation.
HARMLESS = {'__init__', '__doc__', '__module__', '__qualname__', '__annotations__', '__repr__', 'extra_repr',
            'init_weights', 'reset_parameters', '__abstractmethods__', '__firstlineno__', '__static_attributes__'}


def computes(module: Optional[nn.Module]) -> type:
    """Return the known class that describes the computation of this module.

    Return ``NoneType`` for None, and for a module that may compute something else than its known class:

    - a subclass redefines ``forward``, or a method that ``forward`` calls;
    - the instance has a redefined ``forward``, hooks, or parametrized weights.
    """
    if module is None or has_hooks(module) or is_parametrized(module):
        return type(None)
    classes = type(module).__mro__
    known = next((kind for kind in classes if f'{kind.__module__}.'.startswith(KNOWN)), type(None))
    redefined = {name for kind in classes[:classes.index(known)] for name in vars(kind)} if known in classes else set()
    return type(None) if any(hasattr(known, name) for name in redefined - HARMLESS) else known


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of this module does more than its class. Such a module must be called, never replaced."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
                or module._backward_pre_hooks or of_all._global_forward_hooks or of_all._global_forward_pre_hooks
                or of_all._global_backward_hooks or of_all._global_backward_pre_hooks
                or 'forward' in module.__dict__ or module._compiled_call_impl is not None)
