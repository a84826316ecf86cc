"""Build and load the C++ operators.

They are compiled when they are first needed, in seconds, for the very processor at hand, and kept in the user's cache
folder. Where that fails everything works through the reference, with one warning.
"""
import ctypes
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from functools import cache
from glob import glob
from hashlib import sha256
from pathlib import Path
from typing import Optional

SOURCES = [Path(__file__).with_name(name) for name in
           ('line_conv_cpu.cpp', 'pointwise_cpu.cpp', 'settle_cpu.cpp', 'shift_max_cpu.cpp')]
HEADERS = [Path(__file__).with_name(name) for name in ('deferred.h', 'vectors.h')]
FLAGS = ('-O3', '-march=native', '-fopenmp', '-fPIC', '-shared', '-std=c++17', '-fno-math-errno')
OFF = 'MICRONET_MM_REFERENCE'
DIGEST = sha256().digest_size


class BuildError(RuntimeError):
    """There is no library of the operators; the message says why and what to do."""


@cache
def library() -> Optional[ctypes.CDLL]:
    """The compiled operators; None, after one warning, where there are none.

    ``MICRONET_MM_REFERENCE=1`` in the environment asks for the plain PyTorch formulation instead.
    """
    if is_off():
        return None
    try:
        return load()
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


def load() -> ctypes.CDLL:
    """The first library that loads.

    Raises:
        BuildError: if none does.
    """
    failures = []
    for path in libraries(failures):
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            failures.append(f'{path} does not load ({error}); install what it lacks, or set XDG_CACHE_HOME if programs '
                            'may not run from there.')
    raise BuildError(' '.join(dict.fromkeys(failures)))


def libraries(failures: list[str]) -> Iterator[Path]:
    """Libraries to try: one kept from this very compiler, then a new one, then what any other compiler has left.

    Why there are not more of them is added to ``failures``.
    """
    command = os.environ.get('CXX', '').split() or [
        next((name for name in ('g++', 'clang++', 'c++') if shutil.which(name)), 'g++')]
    compiler = shutil.which(command[0])
    stem = f'operators_{key()}'
    if compiler:
        name = f'{stem}_{version(compiler)}.so'
        yield from kept(name, failures)
        for folder in folders(failures):
            try:
                yield build(command, folder / name)
            except BuildError as error:
                failures.append(str(error))
    else:
        failures.append(f'no C++ compiler was found ({command[0]} is no program); install g++ or set CXX.')
    yield from kept(f'{stem}_*.so', failures)


def key() -> str:
    """What a library must have been made from and for to be right here. It is found without a compiler."""
    contents = [file.read_bytes() for file in (*SOURCES, *HEADERS)]
    settings = [*FLAGS, os.environ.get('CXX', ''), platform.machine(), *platform.libc_ver()]
    return sha256(b'\0'.join([*contents, ' '.join(settings).encode(), processor()])).hexdigest()[:16]


def version(compiler: str) -> str:
    """Changes when another compiler is installed. To ask the compiler would take time at every start."""
    path = os.path.realpath(compiler)
    found = os.stat(path)
    return sha256(f'{path} {found.st_size} {found.st_mtime_ns}'.encode()).hexdigest()[:8]


def processor() -> bytes:
    """What '-march=native' depends on: a cache folder may be shared by different machines."""
    try:
        lines = set(Path('/proc/cpuinfo').read_text().splitlines())
        features = ('flags', 'Features', 'model name')
        return '\n'.join(sorted(line for line in lines if line.startswith(features))).encode()
    except OSError:
        return f'{platform.machine()} {platform.processor()} {platform.node()}'.encode()


def folders(failures: list[str]) -> Iterator[Path]:
    """Where libraries are kept: where the user wants it, or else at home, or else among the temporary files."""
    wanted, home = os.environ.get('XDG_CACHE_HOME', ''), os.path.expanduser('~')
    if os.path.isabs(wanted):  # others are to be ignored, says the XDG Base Directory Specification
        yield Path(wanted, 'micronet_mm')
        return
    if os.path.isabs(home):  # it is not where the user has neither HOME nor an entry in passwd
        yield Path(home, '.cache', 'micronet_mm')
    if os.name == 'posix':
        try:
            yield private_folder()
        except OSError as error:
            failures.append(f'{error}; set XDG_CACHE_HOME to a folder that can be written.')


def private_folder() -> Path:
    """Below the folder of temporary files, which is everybody's: a library that another user put there would be run."""
    user = os.geteuid()
    folder = Path(tempfile.gettempdir(), f'micronet_mm_{user}')
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077:
        raise PermissionError(f'{folder} is not a folder of user {user} alone')
    return folder


def kept(pattern: str, failures: list[str]) -> Iterator[Path]:
    """The libraries of such names that are whole: to load one that was cut off may kill the process."""
    for folder in folders(failures):
        for name in sorted(glob(pattern, root_dir=folder)):
            if is_whole(folder / name):
                yield folder / name
            else:
                failures.append(f'{folder / name} is damaged or cannot be read.')


def is_whole(path: Path) -> bool:
    """Whether it ends with the digest of what is before."""
    try:
        content = path.read_bytes() if path.is_file() else b''  # not of a pipe, which would wait
    except OSError:
        return False
    return sha256(content[:-DIGEST]).digest() == content[-DIGEST:]


def build(command: list[str], target: Path) -> Path:
    """Compile the sources, and return ``target``, which appears when it is complete.

    Raises:
        BuildError: if the compiler fails or nothing can be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may build at once: each in a folder of its own, and the last rename wins.
        with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as folder:
            made = Path(folder, target.name)
            compile_to(command, made)
            digest = sha256(made.read_bytes()).digest()
            with made.open('ab') as file:
                file.write(digest)
                file.flush()
                os.fsync(file.fileno())
            if target.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            made.replace(target)
    except OSError as error:
        raise BuildError(f'{target.parent} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder that '
                         'can.') from None
    return target


def compile_to(command: list[str], path: Path) -> None:
    """Run the compiler. Its temporary files go beside ``path``: where those of others go may be full or read-only."""
    try:
        run = subprocess.run([*command, *FLAGS, '-o', path, *SOURCES], capture_output=True, text=True,
                             env={**os.environ, 'TMPDIR': str(path.parent), 'LC_ALL': 'C'})
    except OSError as error:
        raise BuildError(f'{command[0]} cannot be run: {error.strerror}.') from None
    if run.returncode:
        lines = run.stderr.strip().splitlines() or ['no message']
        told = next((line for line in lines if any(word in line for word in ('error', 'cannot', 'failed'))), lines[-1])
        raise BuildError(f'{" ".join(command)} failed: {told}. A compiler with OpenMP is needed, such as g++.')
