"""The door to the C++ operators: nothing reaches them but memory of the size and kind that they read or write.

They see addresses, so a tensor that does not fit would be read beyond its end. Callers ask beforehand whether there is
code for what they have, and leave the rest to PyTorch, whose errors are clear; what comes to the door and does not fit
is a mistake of theirs.
"""
import ctypes
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import prod
from typing import Optional

import torch
from torch import Tensor

from .compiled import library

# Type of a tensor -> its name in C++, and the type of the arithmetic.
TYPES = {
    torch.float32: ('float32', torch.float32),
    torch.float64: ('float64', torch.float64),
    torch.bfloat16: ('bfloat16', torch.float32),
}


class CppFunction:
    """A function of the library, one instance for every type.

    Args:
        name: less the type.
        tensors: its first arguments, each ``name=shape``, the shape a product of sizes. ``?`` behind a name allows
            None, ``~`` channels that come last. ``:index`` stands for int64, ``:sum`` for the type of the arithmetic.
        sizes: names of the integers that follow; the threads come last.
        clamps: whether the two bounds of a clamp stand before them.
    """

    def __init__(self, name: str, tensors: str, sizes: str, clamps: bool = False) -> None:
        self.name = name
        self.sizes = sizes.split()
        self.arguments = [Argument(text, self.sizes) for text in tensors.split()]
        self.types = [*[ctypes.c_void_p] * len(self.arguments), *[ctypes.c_double] * (2 * clamps),
                      *[ctypes.c_int64] * (len(self.sizes) + 1)]
        # A network calls with the same types and sizes again and again.
        self.of_type = cache(self.of_type)
        self.numels = lru_cache(maxsize=1024)(self.numels)

    def of_type(self, dtype: torch.dtype) -> tuple[Callable, list[torch.dtype]]:
        """The instance for this type, and the types of its tensors."""
        suffix, arithmetic = TYPES[dtype]
        function = getattr(library(), f'{self.name}_{suffix}')
        function.argtypes, function.restype = self.types, None
        kinds = {'': dtype, 'index': torch.int64, 'sum': arithmetic}
        return function, [kinds[argument.kind] for argument in self.arguments]

    def numels(self, sizes: tuple[int, ...]) -> list[int]:
        """How many values each tensor has."""
        return [prod(sizes[i] for i in argument.factors) for argument in self.arguments]

    def __call__(self, dtype: torch.dtype, tensors: Sequence[Optional[Tensor]], sizes: tuple[int, ...],
                 bounds: Sequence[float] = ()) -> None:
        """Run it, on as many threads as PyTorch has.

        Raises:
            RuntimeError: if a tensor does not fit.
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
                raise RuntimeError(f'{self.name} needs {argument.name} as {numel} values of {kind} in a row on the '
                                   f'CPU, got {given}.')
        function(*pointers, *bounds, *sizes, torch.get_num_threads())


class Argument:
    """A tensor as :class:`CppFunction` declares it."""

    def __init__(self, text: str, sizes: list[str]) -> None:
        name, shape = text.split('=')
        shape, _, self.kind = shape.partition(':')
        self.name = name.rstrip('?~')
        self.optional = '?' in name
        self.any_layout = '~' in name
        self.factors = [sizes.index(size) for size in shape.split('*')]

    def lies_as_read(self, tensor: Tensor) -> bool:
        """Whether C++ can read it though its channels come last."""
        return self.any_layout and tensor.is_contiguous(memory_format=torch.channels_last)
