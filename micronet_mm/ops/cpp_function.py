"""Checked ctypes bindings: dtype, size and layout are validated before an address is passed to C++.

The C++ operators receive addresses only, so they would read beyond the end of a tensor that is too small. Callers first
check whether the C++ code supports their inputs. Otherwise they use PyTorch, which has clear errors. A tensor that does
not fit here is therefore a mistake of the caller.
"""
import ctypes
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import prod
from typing import Optional

import torch
from torch import Tensor

from .compiled import library

# Type of a tensor -> its name in C++, and the compute type.
TYPES = {
    torch.float32: ('float32', torch.float32),
    torch.float64: ('float64', torch.float64),
    torch.bfloat16: ('bfloat16', torch.float32),
}


class CppFunction:
    """A function of the library, with one C++ instance per type.

    Args:
        name: name of the C++ function, without the type.
        tensors: the first arguments, each ``name=shape``. The shape is a product of sizes. ``?`` after a name allows
            None, ``~`` allows channels last. ``:index`` means int64, ``:sum`` means the compute type.
        sizes: names of the integer arguments that follow. The number of threads is always the last argument.
        clamps: pass the two bounds of a clamp before the sizes.
    """

    def __init__(self, name: str, tensors: str, sizes: str, clamps: bool = False) -> None:
        self.name = name
        self.sizes = sizes.split()
        self.arguments = [Argument(text, self.sizes) for text in tensors.split()]
        self.types = [*[ctypes.c_void_p] * len(self.arguments), *[ctypes.c_double] * (2 * clamps),
                      *[ctypes.c_int64] * (len(self.sizes) + 1)]
        # A network repeats calls with the same types and sizes.
        self.of_type = cache(self.of_type)
        self.numels = lru_cache(maxsize=1024)(self.numels)

    def of_type(self, dtype: torch.dtype) -> tuple[Callable, list[torch.dtype]]:
        """Return the C++ instance for this type, and the types of its tensors."""
        suffix, arithmetic = TYPES[dtype]
        function = getattr(library(), f'{self.name}_{suffix}')
        function.argtypes, function.restype = self.types, None
        kinds = {'': dtype, 'index': torch.int64, 'sum': arithmetic}
        return function, [kinds[argument.kind] for argument in self.arguments]

    def numels(self, sizes: tuple[int, ...]) -> list[int]:
        """Return the number of values of each tensor."""
        return [prod(sizes[i] for i in argument.factors) for argument in self.arguments]

    def __call__(self, dtype: torch.dtype, tensors: Sequence[Optional[Tensor]], sizes: tuple[int, ...],
                 bounds: Sequence[float] = ()) -> None:
        """Run the C++ function, with as many threads as PyTorch uses.

        Raises:
            RuntimeError: if a tensor has the wrong type, size, device or layout.
        """
        function, types = self.of_type(dtype)
        pointers = []
        for argument, tensor, kind, numel in zip(self.arguments, tensors, types, self.numels(sizes), strict=True):
            if tensor is None and argument.optional:
                pointers.append(None)
            elif (tensor is not None and tensor.dtype is kind and tensor.numel() == numel and tensor.is_cpu
                  and not tensor.is_neg() and (tensor.is_contiguous() or argument.lies_as_read(tensor))):
                pointers.append(tensor.data_ptr())
            else:
                given = tensor if tensor is None else (
                    f'{tuple(tensor.shape)} of {tensor.dtype} on {tensor.device} with strides {tensor.stride()}')
                raise RuntimeError(f'{self.name} needs {argument.name} as {numel} values of {kind}, contiguous on '
                                   f'the CPU; got {given}.')
        function(*pointers, *bounds, *sizes, torch.get_num_threads())


class Argument:
    """The declaration of a tensor argument of :class:`CppFunction`."""

    def __init__(self, text: str, sizes: list[str]) -> None:
        name, shape = text.split('=')
        shape, _, self.kind = shape.partition(':')
        self.name = name.rstrip('?~')
        self.optional = '?' in name
        self.any_layout = '~' in name
        self.factors = [sizes.index(size) for size in shape.split('*')]

    def lies_as_read(self, tensor: Tensor) -> bool:
        """Whether the C++ code accepts the channels-last layout of this tensor."""
        return self.any_layout and tensor.is_contiguous(memory_format=torch.channels_last)
