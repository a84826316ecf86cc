"""The door to the C++ operators: nothing reaches them but memory of the size and kind that they read or write.

They see addresses, so a tensor that does not fit would be read beyond its end. Callers ask beforehand whether there is
code for what they have, and leave the rest to PyTorch, whose errors are clear; what comes to the door and does not fit
is a mistake of theirs.
"""
import ctypes
from collections.abc import Sequence
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
        sizes = sizes.split()
        self.arguments = []
        for argument in tensors.split():
            label, shape = argument.split('=')
            shape, _, kind = shape.partition(':')
            factors = tuple(sizes.index(size) for size in shape.split('*'))
            self.arguments.append((label.rstrip('?~'), '?' in label, '~' in label, kind, factors))
        self.types = [*[ctypes.c_void_p] * len(self.arguments), *[ctypes.c_double] * (2 * clamps),
                      *[ctypes.c_int64] * (len(sizes) + 1)]

    def __call__(self, dtype: torch.dtype, tensors: Sequence[Optional[Tensor]], sizes: Sequence[int],
                 bounds: Sequence[float] = ()) -> None:
        """Run it, on as many threads as PyTorch has.

        Raises:
            RuntimeError: if a tensor does not fit.
        """
        suffix, arithmetic = TYPES[dtype]
        types = {'': dtype, 'index': torch.int64, 'sum': arithmetic}
        pointers = []
        for (label, optional, any_layout, kind, factors), tensor in zip(self.arguments, tensors, strict=True):
            if tensor is None and optional:
                pointers.append(None)
                continue
            numel = prod([sizes[i] for i in factors])
            if tensor is None or tensor.numel() != numel or tensor.dtype != types[kind] or not in_a_row(
                    tensor, any_layout):
                given = tensor if tensor is None else (
                    f'{tuple(tensor.shape)} of {tensor.dtype} on {tensor.device} with strides {tensor.stride()}')
                raise RuntimeError(f'{self.name} needs {label} as {numel} values of {types[kind]} in a row on the CPU, '
                                   f'got {given}.')
            pointers.append(tensor.data_ptr())
        function = getattr(library(), f'{self.name}_{suffix}')
        function.argtypes, function.restype = self.types, None
        function(*pointers, *bounds, *sizes, torch.get_num_threads())


def in_a_row(x: Tensor, any_layout: bool) -> bool:
    """Whether the values lie in memory as C++ reads them."""
    return x.is_cpu and not x.is_neg() and (
        x.is_contiguous() or (any_layout and x.is_contiguous(memory_format=torch.channels_last)))
