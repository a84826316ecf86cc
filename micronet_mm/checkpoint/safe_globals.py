"""Let MMEngine resume and test its own checkpoints with ``weights_only=True``.

Since PyTorch 2.6 ``torch.load`` unpickles nothing but tensors and plain containers unless told otherwise, and what
MMEngine keeps beside the weights (the message hub's history buffers, which are NumPy arrays) is neither. The types
named here hold data and run no code of the file's choosing, so they are safe to allow; every other global in a
checkpoint is still refused.
"""
import os.path as osp
from pickle import UnpicklingError
from typing import Any, Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

try:
    from numpy._core.multiarray import _reconstruct, scalar
except ImportError:  # NumPy 1
    from numpy.core.multiarray import _reconstruct, scalar

# Arrays name the functions by the module of the NumPy that wrote them.
_NUMPY_MODULES = ('numpy._core.multiarray', 'numpy.core.multiarray')
_DTYPES = ('float16', 'float32', 'float64', 'int8', 'int16', 'int32', 'int64', 'uint8', 'bool')


def history_buffer_method(cls: type, name: str) -> Callable:
    """Stands in for ``getattr``, through which a pickled HistoryBuffer names its default statistics.

    Raises:
        UnpicklingError: for anything but those four methods; the real ``getattr`` would open every module.
    """
    if cls is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise UnpicklingError(f'the checkpoint asks for attribute {name!r} of {cls!r}, which is not safe to allow')
    return getattr(HistoryBuffer, name)


SAFE_GLOBALS = [
    HistoryBuffer,
    (history_buffer_method, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *sorted({type(np.dtype(name)) for name in _DTYPES}, key=lambda t: t.__name__),
    *((function, f'{module}.{function.__name__}') for module in _NUMPY_MODULES for function in (_reconstruct, scalar)),
]


def load_from_local(filename: str, map_location: Any) -> Any:
    """MMEngine's loader of local files, by PyTorch's own rules.

    The maintained line of MMEngine (0.10.12) allows the real ``getattr``, and loads what is refused once more with
    ``weights_only=False``.

    Raises:
        FileNotFoundError: if there is no such file.
        UnpicklingError: if it holds what is not allowed.
    """
    path = osp.expanduser(filename)
    if not osp.isfile(path):
        raise FileNotFoundError(f'{filename} does not exist.')
    return torch.load(path, map_location=map_location)


def allow_mmengine_checkpoints() -> None:
    """Allow-list what an MMEngine training checkpoint holds; called when ``micronet_mm`` is imported."""
    torch.serialization.add_safe_globals(SAFE_GLOBALS)
    CheckpointLoader.register_scheme('', load_from_local, force=True)
