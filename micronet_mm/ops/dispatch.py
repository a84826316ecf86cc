"""Is anybody watching?

C++ and Triton are invisible to PyTorch: its dispatcher sees no operation there, so a mode that counts them, a tracer, a
transform or a hook would get nothing, or the wrong thing. Whoever is about to run such code asks here first, and runs
PyTorch's own operations where the answer is yes.
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

# What a call of plain tensors passes on its way through the dispatcher. Whatever else stands there wants to see
# operations: modes, transforms, tracers; fake, batched and wrapped tensors; other kinds of memory. Autocast wants other
# types only.
PLAIN = reduce(or_, (DispatchKeySet(key).raw_repr() for key in (
    DispatchKey.BackendSelect, DispatchKey.ADInplaceOrView, DispatchKey.CPU, DispatchKey.CUDA, DispatchKey.AutogradCPU,
    DispatchKey.AutogradCUDA, DispatchKey.AutocastCPU, DispatchKey.AutocastCUDA)))

_reference_only = ContextVar('reference_only', default=False)


@contextmanager
def reference_only() -> Iterator[None]:
    """Within it every operator runs through its PyTorch formulation, to compare with or to be looked into."""
    token = _reference_only.set(True)
    try:
        yield
    finally:
        _reference_only.reset(token)


def must_use_reference(*tensors: Tensor) -> bool:
    """Whether anybody wants to see the operations on these tensors: by PyTorch's account of what a call would pass."""
    # A compiler has to be asked first: it cannot follow the rest.
    if torch.compiler.is_compiling() or _reference_only.get() or has_modes():
        return True
    keys = torch._C._dispatch_tls_local_include_set()
    for x in tensors:
        if type(x) not in (Tensor, nn.Parameter):
            return True
        keys = keys | torch._C._dispatch_keys(x)
    return bool(keys.raw_repr() & ~PLAIN)


def has_modes() -> bool:
    """Whether a mode is on that the dispatcher does not show: forward-mode differentiation, or one of functions.

    That of ``with torch.device(...)`` looks at nothing but factories.
    """
    return forward_ad._current_level >= 0 or (bool(torch._C._len_torch_function_stack()) and not all(
        isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack()))


# Where classes are defined whose computation this package knows.
KNOWN = ('micronet_mm.', 'torch.nn.modules.', 'mmcv.cnn.', 'mmengine.model.', 'mmengine.utils.')
# What a subclass may redefine without computing something else.
HARMLESS = {'__init__', '__doc__', '__module__', '__qualname__', '__annotations__', '__repr__', 'extra_repr',
            'init_weights', 'reset_parameters', '__abstractmethods__', '__firstlineno__', '__static_attributes__'}


def computes(module: Optional[nn.Module]) -> type:
    """Return the known class whose computation a call of this module is.

    A module may compute something else than the class that it is an instance of: a subclass has another ``forward``, or
    another method that ``forward`` calls; an instance has a ``forward`` of its own, hooks, or parametrized weights.
    ``NoneType`` is returned for these, and for None.
    """
    if module is None or has_hooks(module) or is_parametrized(module):
        return type(None)
    classes = type(module).__mro__
    known = next((kind for kind in classes if f'{kind.__module__}.'.startswith(KNOWN)), type(None))
    redefined = {name for kind in classes[:classes.index(known)] for name in vars(kind)} if known in classes else set()
    return type(None) if any(hasattr(known, name) for name in redefined - HARMLESS) else known


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of this module does more than its class says, so that it must be called, not seen through."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
                or module._backward_pre_hooks or of_all._global_forward_hooks or of_all._global_forward_pre_hooks
                or of_all._global_backward_hooks or of_all._global_backward_pre_hooks
                or 'forward' in module.__dict__ or module._compiled_call_impl is not None)
