"""Let MMEngine resume and test its own checkpoints with ``weights_only=True``.

Since PyTorch 2.6 ``torch.load`` unpickles nothing but tensors and plain containers unless told otherwise, and what
MMEngine keeps beside the weights is more: history buffers, which are NumPy arrays, schedulers that name their
functions, and what datasets and hooks say of themselves. The types named here hold data and run no code of the file's
choosing, so they are safe to allow; every other global in a checkpoint is still refused.
"""
import argparse
import builtins
import datetime
import os.path as osp
import pathlib
from collections.abc import Sequence
from pickle import UnpicklingError
from pkgutil import resolve_name
from typing import Any, Callable, Optional

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

from micronet_mm.validation import TEXT, checked, sequence_of

from .bundled import SCHEME
from .errors import CheckpointError
from .reading import read_checkpoint

try:
    from numpy._core.multiarray import _reconstruct, scalar
except ImportError:  # NumPy 1
    from numpy.core.multiarray import _reconstruct, scalar

# Arrays name the functions by the module of the NumPy that wrote them, paths by that of the Python.
NUMPY_MODULES = ('numpy._core.multiarray', 'numpy.core.multiarray')
PATH_MODULES = ('pathlib', 'pathlib._local')
PATHS = dict(PosixPath=pathlib.PurePosixPath, WindowsPath=pathlib.PureWindowsPath,
             PurePosixPath=pathlib.PurePosixPath, PureWindowsPath=pathlib.PureWindowsPath)
PATHS[type(pathlib.Path()).__name__] = type(pathlib.Path())  # the one of this system

WRAPPERS = ('module.', '_orig_mod.')  # what DDP and torch.compile put in front of names
RELEASED_NAME = 'features.0.stem.0.conv.0.weight'


def one_cycle(*args: Any) -> None:
    """Stands in for OneCycleParamScheduler, of which pickles name functions, and which they must not call."""
    raise UnpicklingError('the checkpoint builds a scheduler, which is not safe to allow')


# What pickles name functions of, what it is, and which functions.
ATTRIBUTES = [
    (HistoryBuffer, HistoryBuffer, ('min', 'max', 'current', 'mean')),
    (one_cycle, OneCycleParamScheduler, ('_annealing_cos', '_annealing_linear')),
]


def allowed_attribute(owner: Any, name: str) -> Callable:
    """Stands in for ``getattr``, through which pickles name functions of classes.

    Raises:
        UnpicklingError: for anything but a few; the real ``getattr`` would open every module.
    """
    for key, kind, names in ATTRIBUTES:
        if owner is key and name in names:
            return getattr(kind, name)
    raise UnpicklingError(f'the checkpoint asks for attribute {name!r} of {owner!r}, which is not safe to allow')


def plain_dict(factory: Optional[Callable] = None) -> dict:
    """Stands in for ``defaultdict``, into which PyTorch puts no items."""
    return {}


def plain_list(items: Sequence = (), maxlen: Optional[int] = None) -> list:
    """Stands in for ``deque``, to which PyTorch appends nothing."""
    return list(items)


SAFE_GLOBALS = [
    HistoryBuffer,
    ConfigDict,
    # What timm's training was called with. By name, since timm takes the type itself off the list after each reading.
    (argparse.Namespace, 'argparse.Namespace'),
    (allowed_attribute, 'builtins.getattr'),
    (one_cycle, f'{OneCycleParamScheduler.__module__}.{OneCycleParamScheduler.__name__}'),
    (plain_dict, 'collections.defaultdict'),
    (plain_list, 'collections.deque'),
    *(getattr(builtins, name) for name in ('bool', 'bytes', 'dict', 'float', 'frozenset', 'int', 'list', 'range',
                                           'slice', 'str', 'tuple')),
    *(getattr(datetime, name) for name in ('date', 'datetime', 'time', 'timedelta', 'timezone')),
    *((kind, f'{module}.{name}') for module in PATH_MODULES for name, kind in PATHS.items()),
    np.ndarray,
    np.dtype,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
    *((function, f'{module}.{function.__name__}') for module in NUMPY_MODULES for function in (_reconstruct, scalar)),
]


def load_from_local(filename: str, map_location: Any) -> Any:
    """MMEngine's loader of local files, by PyTorch's own rules.

    The maintained line of MMEngine (0.10.12) allows the real ``getattr``, and loads what is refused once more with
    ``weights_only=False``. Raises what :func:`read_checkpoint` does, and CheckpointError for released weights that were
    not converted, of which MMEngine would load nothing.
    """
    content = read_checkpoint(osp.expanduser(filename), map_location)
    stored = content.get('state_dict') if isinstance(content, dict) else None
    if isinstance(stored, dict):
        content['state_dict'] = stored = without_wrappers(stored)
    elif isinstance(content, dict):
        content = stored = without_wrappers(content)
    if stored and RELEASED_NAME in stored:
        raise CheckpointError(f'{filename} is a MicroNet as the authors released it, whose tensors have other names: '
                              'convert it with micronet-mm convert, or '
                              'micronet_mm.checkpoint.convert_checkpoint(file, new_file), and give the new file.')
    return content


def without_wrappers(stored: dict) -> dict:
    """By names without what DDP and torch.compile put in front of all of them."""
    while stored and (wrapper := next((wrapper for wrapper in WRAPPERS if all(
            str(name).startswith(wrapper) for name in stored)), None)):
        stored = {name.removeprefix(wrapper): value for name, value in stored.items()}
    return stored


def allow_mmengine_checkpoints() -> None:
    """Allow-list what an MMEngine training checkpoint holds; called when ``micronet_mm`` is imported."""
    torch.serialization.add_safe_globals(SAFE_GLOBALS)
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    CheckpointLoader.register_scheme(SCHEME, read_checkpoint, force=True)


@checked(names=sequence_of(TEXT, least=0))
def allow_named(names: Sequence[str]) -> None:
    """Allow-list further types, by their full names.

    Raises:
        ValueError: if there is none of a name.
    """
    for name in names:
        try:
            found = resolve_name(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f'safe_globals names {name!r}, which cannot be imported: {error}; give full names such as '
                             "'package.module.Type'.") from None
        torch.serialization.add_safe_globals([found])
