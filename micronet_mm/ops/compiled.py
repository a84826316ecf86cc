"""Build, load and call the C++ operators.

They are compiled when they are first needed, in seconds, for the very processor at hand, and kept in the user's cache
folder. Where that fails everything works through the reference, with one warning.
"""
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import Optional

import torch
from torch import Tensor
from torch.nn import Parameter

SOURCES = [Path(__file__).with_name(name) for name in
           ('line_conv_cpu.cpp', 'pointwise_cpu.cpp', 'settle_cpu.cpp', 'shift_max_cpu.cpp')]
HEADERS = [Path(__file__).with_name(name) for name in ('deferred.h', 'vectors.h')]
FLAGS = ('-O3', '-march=native', '-fopenmp', '-fPIC', '-shared', '-std=c++17', '-fno-math-errno')
OFF = 'MICRONET_MM_REFERENCE'
NAMES = {torch.float32: 'float32', torch.float64: 'float64'}  # of the types that every operator works on


class BuildError(RuntimeError):
    """The operators cannot be compiled; the message says why and what to do."""


_reference_only = ContextVar('reference_only', default=False)


@contextmanager
def reference_only() -> Iterator[None]:
    """Within it every operator runs through its PyTorch formulation, to compare with or to be looked into."""
    token = _reference_only.set(True)
    try:
        yield
    finally:
        _reference_only.reset(token)


# PyTorch before 2.3 may not say whether it compiles; there the operators stay PyTorch's.
is_compiling = getattr(torch.compiler, 'is_compiling', lambda: True)
# PyTorch 2.4 began to ask for the device.
is_autocasting = (partial(torch.is_autocast_enabled, 'cpu')
                  if hasattr(torch, 'get_autocast_dtype') else torch.is_autocast_cpu_enabled)
# Of torch.func: vmap, grad and so on.
is_transforming = getattr(torch._C, '_are_functorch_transforms_active', lambda: False)


def unwatched(*tensors: Tensor) -> bool:
    """Whether these are plain tensors, and nobody looks at the operations on them."""
    return (not is_compiling() and not torch.jit.is_tracing() and not is_transforming() and not _reference_only.get()
            and all(type(tensor) in (Tensor, Parameter) for tensor in tensors))


def call(name: str, tensors: Sequence[Optional[Tensor]], *sizes: int) -> None:
    """Run a function of the library on the tensors' memory, null for None, with the current number of threads."""
    pointers = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
    function = getattr(library(), name)
    done = function(*pointers, *map(ctypes.c_int64, sizes), ctypes.c_int64(torch.get_num_threads()))
    assert done, f'{name} has no code for sizes {sizes}, which its caller should have seen'


@cache
def library() -> Optional[ctypes.CDLL]:
    """The compiled operators; None, after one warning, where there are none.

    ``MICRONET_MM_REFERENCE=1`` in the environment asks for the plain PyTorch formulation instead.
    """
    if is_off():
        return None
    try:
        return ctypes.CDLL(str(build()))
    except (BuildError, OSError) as error:
        warn_of_reference(error)
        return None


def is_off() -> bool:
    return os.environ.get(OFF, '0') not in ('', '0')


def warn_of_reference(reason: Exception) -> None:
    warnings.warn(f'MicroNet runs through the slower PyTorch formulation of its operators: {reason} '
                  f'({OFF}=1 silences this.)', stacklevel=3)


def build() -> Path:
    """Compile the source unless that was done before, and return the library's path.

    Raises:
        BuildError: if there is no compiler, it fails, or nothing can be written.
    """
    compiler = os.environ.get('CXX') or shutil.which('g++') or shutil.which('clang++') or shutil.which('c++')
    if not compiler:
        raise BuildError('no C++ compiler was found; install g++ or set CXX.')
    sources = [source.read_bytes() for source in (*SOURCES, *HEADERS)]
    key = hashlib.sha256(b'\0'.join([*sources, ' '.join(FLAGS).encode(), compiler.encode(), processor()])).hexdigest()
    root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'micronet_mm'
    target = root / f'operators_{key[:16]}.so'
    if target.exists():
        return target
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Several processes may build at once: each to a name of its own, and the last rename wins.
        handle, temporary = tempfile.mkstemp(dir=root, suffix='.so')
        os.close(handle)
    except OSError as error:
        raise BuildError(f'{root} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder that '
                         'can.') from None
    try:
        run = subprocess.run([*compiler.split(), *FLAGS, '-o', temporary, *map(str, SOURCES)], capture_output=True,
                             text=True)
        if run.returncode:
            lines = run.stderr.strip().splitlines() or ['no message']
            raise BuildError(f'{compiler} failed: {lines[-1]}. A compiler with OpenMP is needed, such as g++.')
        os.replace(temporary, target)
    except OSError as error:
        raise BuildError(f'{compiler} cannot be run: {error.strerror}.') from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def processor() -> bytes:
    """What '-march=native' depends on: a cache folder may be shared by different machines."""
    try:
        lines = set(Path('/proc/cpuinfo').read_text().splitlines())
        features = ('flags', 'Features', 'model name')
        return '\n'.join(sorted(line for line in lines if line.startswith(features))).encode()
    except OSError:
        return f'{platform.machine()} {platform.processor()} {platform.node()}'.encode()
