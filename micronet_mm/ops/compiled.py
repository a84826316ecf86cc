"""Build and load the C++ operators.

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
from functools import cache
from pathlib import Path
from typing import Optional

SOURCES = [Path(__file__).with_name(name) for name in
           ('line_conv_cpu.cpp', 'pointwise_cpu.cpp', 'settle_cpu.cpp', 'shift_max_cpu.cpp')]
HEADERS = [Path(__file__).with_name(name) for name in ('deferred.h', 'vectors.h')]
FLAGS = ('-O3', '-march=native', '-fopenmp', '-fPIC', '-shared', '-std=c++17', '-fno-math-errno')
OFF = 'MICRONET_MM_REFERENCE'


class BuildError(RuntimeError):
    """The operators cannot be compiled; the message says why and what to do."""


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


@cache
def has_code(operator: str, *sizes: int) -> bool:
    """Whether the library has code of this operator for these sizes: it alone knows them."""
    function = getattr(library(), f'{operator}_has')
    function.argtypes, function.restype = [ctypes.c_int64] * len(sizes), ctypes.c_bool
    return function(*sizes)


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
