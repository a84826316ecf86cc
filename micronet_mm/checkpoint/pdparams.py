"""Weights of PaddleClas: ``.pdparams`` files, a pickle of NumPy arrays by name.

PaddleClas uses the authors' layer names. Its BatchNorm statistics are ``_mean`` and ``_variance``, it does not count
batches, and its linear layers store weights as (in, out).
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
    """Replaces NumPy's dtype while unpickling: the name of a numeric type, and its byte order."""

    def __init__(self, name: str, align: bool = False, copy: bool = False) -> None:
        self.name, self.order = name, '='

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def resolve(self) -> np.dtype:
        kind = np.dtype(self.name).newbyteorder(self.order)
        if kind.kind not in 'fiu':
            raise pickle.UnpicklingError(f'an array of type {self.name!r}, which is not numeric')
        return kind


class StoredArray:
    """Replaces NumPy's array while unpickling, so that NumPy code never runs with unchecked content."""

    array: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, content = state
        numbers = np.frombuffer(content, kind.resolve())
        self.array = numbers.reshape(shape, order='F' if is_fortran else 'C')


def new_array(*args: Any) -> StoredArray:
    return StoredArray()


def to_bytes(text: str, encoding: str) -> bytes:
    """Convert text to bytes, as pickles of protocol 2 do."""
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
    """Unpickles arrays in plain containers and refuses every other type."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise RefusedCheckpointError(f'it holds {module}.{name}, which is no array')
        return ALLOWED[module, name]


def read_pdparams(path: Union[str, Path], map_location: Any = 'cpu') -> dict[str, Tensor]:
    """Read the tensors with the names and layout of the authors' checkpoints.

    Args:
        path: path of a local file.
        map_location: ignored; the tensors are on the CPU.

    Raises:
        BrokenCheckpointError: if the file is not a complete pickle of arrays by name.
        RefusedCheckpointError: if the file contains other types than arrays.
        CheckpointError: if the file cannot be read.
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
        raise RefusedCheckpointError(f'{path} is refused: {error}; PaddleClas only writes arrays.') from None
    except Exception as error:  # a damaged pickle raises anything
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise BrokenCheckpointError(f'{path} is broken and cannot be read as .pdparams: {reason}') from None


def as_released(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Convert PaddleClas's names and layout to the authors'."""
    tensors = {}
    for name, array in arrays.items():
        layer, _, last = name.rpartition('.')
        if last == '_mean':
            tensors[f'{layer}.num_batches_tracked'] = torch.tensor(0)
        native = np.ascontiguousarray(array.T if array.ndim == 2 else array, array.dtype.newbyteorder('='))
        tensors[f'{layer}.{STATISTICS.get(last, last)}' if layer else name] = torch.from_numpy(native.copy())
    return tensors
