"""Weights that PaddleClas released: ``.pdparams``, a pickle of NumPy arrays by name.

PaddleClas names MicroNet's layers as the authors do. Its BatchNorm calls the statistics ``_mean`` and ``_variance`` and
counts no batches, and its linear layers keep weights as (in, out).
"""
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor

from .errors import BrokenCheckpointError, CheckpointError, RefusedCheckpointError

NAMES_OF_PARAMETERS = 'StructuredToParameterName@@'  # an entry beside the arrays
STATISTICS = dict(_mean='running_mean', _variance='running_var')


class StoredType:
    """Takes the place of NumPy's dtype: the name of a type of numbers, and the order of their bytes."""

    def __init__(self, name: str, align: bool = False, copy: bool = False) -> None:
        self.name, self.order = name, '='

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def resolve(self) -> np.dtype:
        kind = np.dtype(self.name).newbyteorder(self.order)
        if kind.kind not in 'fiu':
            raise pickle.UnpicklingError(f'an array of type {self.name!r}, which are no numbers')
        return kind


class StoredArray:
    """Takes the place of NumPy's array: nothing of NumPy's runs with what the file says before it is checked."""

    array: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, content = state
        numbers = np.frombuffer(content, kind.resolve())
        self.array = numbers.reshape(shape, order='F' if is_fortran else 'C')


def new_array(*args: Any) -> StoredArray:
    return StoredArray()


def to_bytes(text: str, encoding: str) -> bytes:
    """What pickles of protocol 2 call to make bytes of text."""
    return text.encode('latin1')


ALLOWED = {
    ('numpy', 'ndarray'): StoredArray,
    ('numpy', 'dtype'): StoredType,
    ('numpy.core.multiarray', '_reconstruct'): new_array,
    ('numpy._core.multiarray', '_reconstruct'): new_array,
    ('_codecs', 'encode'): to_bytes,
    ('collections', 'OrderedDict'): OrderedDict,
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays in plain containers, and refuses whatever else is named."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise RefusedCheckpointError(f'it holds {module}.{name}, which is no array')
        return ALLOWED[module, name]


def read_pdparams(path: Union[str, Path], map_location: Any = 'cpu') -> dict[str, Tensor]:
    """The tensors by the names and in the layout of the authors' checkpoints.

    Args:
        path: of a local file.
        map_location: the tensors are on the CPU whatever it is.

    Raises:
        BrokenCheckpointError: if the file is no whole pickle of arrays by name.
        RefusedCheckpointError: if it names anything but arrays.
        CheckpointError: if it cannot be read.
    """
    try:
        with open(path, 'rb') as file:
            content = ArrayUnpickler(file).load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError('expected arrays by name')
        content.pop(NAMES_OF_PARAMETERS, None)
        if not content or not all(isinstance(name, str) and hasattr(value, 'array') for name, value in content.items()):
            raise pickle.UnpicklingError('expected arrays by name')
        return as_released({name: value.array for name, value in content.items()})
    except PermissionError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from None
    except RefusedCheckpointError as error:
        raise RefusedCheckpointError(f'{path} is refused: {error}; PaddleClas writes arrays alone.') from None
    except Exception as error:  # a damaged pickle raises anything
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise BrokenCheckpointError(f'{path} is broken and cannot be read as .pdparams: {reason}') from None


def as_released(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """PaddleClas's names and layout, turned into the authors'."""
    tensors = {}
    for name, array in arrays.items():
        layer, _, last = name.rpartition('.')
        if last == '_mean':
            tensors[f'{layer}.num_batches_tracked'] = torch.tensor(0)
        native = np.ascontiguousarray(array.T if array.ndim == 2 else array, array.dtype.newbyteorder('='))
        tensors[f'{layer}.{STATISTICS.get(last, last)}' if layer else name] = torch.from_numpy(native.copy())
    return tensors
