"""Build and load the C++ operators, once per machine.

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

SOURCE = Path(__file__).with_name('shift_max_cpu.cpp')
FLAGS = ('-O3', '-march=native', '-fopenmp', '-fPIC', '-shared', '-std=c++17', '-fno-math-errno')
OFF = 'MICRONET_MM_REFERENCE'


class BuildError(RuntimeError):
    """The operators cannot be compiled; the message says why and what to do."""


@cache
def library() -> Optional[ctypes.CDLL]:
    """The compiled operators; None, after one warning, where there are none.

    ``MICRONET_MM_REFERENCE=1`` in the environment asks for the plain PyTorch formulation instead.
    """
    if os.environ.get(OFF, '0') not in ('', '0'):
        return None
    try:
        return ctypes.CDLL(str(build()))
    except (BuildError, OSError) as error:
        warnings.warn(f'Dynamic Shift-Max runs through its slower reference: {error} ({OFF}=1 silences this.)',
                      stacklevel=2)
        return None


def build() -> Path:
    """Compile the source unless that was done before, and return the library's path.

    Raises:
        BuildError: if there is no compiler, it fails, or nothing can be written.
    """
    compiler = os.environ.get('CXX') or shutil.which('g++') or shutil.which('clang++') or shutil.which('c++')
    if not compiler:
        raise BuildError('no C++ compiler was found; install g++ or set CXX.')
    source = SOURCE.read_bytes()
    key = hashlib.sha256(b'\0'.join([source, ' '.join(FLAGS).encode(), compiler.encode(), processor()])).hexdigest()
    root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'micronet_mm'
    target = root / f'shift_max_{key[:16]}.so'
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
        run = subprocess.run([*compiler.split(), *FLAGS, '-o', temporary, str(SOURCE)], capture_output=True, text=True)
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
