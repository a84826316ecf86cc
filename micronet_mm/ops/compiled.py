"""Build and load the C++ libraries: the operators, and the runtime for plans.

A library is compiled at first use, in seconds, for the processor of this machine. It is kept in the user's cache
folder. If the operators cannot be built, the reference implementation is used, with one warning.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from glob import glob
from hashlib import sha256
from pathlib import Path
from typing import Optional, Union


@dataclass(frozen=True)
class Library:
    """The sources and flags of one library file.

    Attributes:
        name: prefix of the file name.
        sources: source files, compiled together.
        headers: header files that the sources include.
        flags: compiler flags for all sources.
        variants: more sources, each with additional flags. A source may appear several times.
    """
    name: str
    sources: tuple[Path, ...]
    headers: tuple[Path, ...]
    flags: tuple[str, ...]
    variants: tuple[tuple[Path, tuple[str, ...]], ...] = ()


def beside(*names: str) -> tuple[Path, ...]:
    return tuple(Path(__file__).parent / name for name in names)


FLAGS = ('-O3', '-fopenmp', '-fPIC', '-shared', '-std=c++17', '-fno-math-errno')
OPERATORS = Library(
    'operators', beside('line_conv_cpu.cpp', 'pointwise_cpu.cpp', 'settle_cpu.cpp', 'shift_max_cpu.cpp'),
    beside('deferred.h', 'vectors.h'), (*FLAGS, '-march=native'))
# The plan library chooses one of these at run time, so the file also runs on other machines.
VECTORS = {'plain': ()}
if platform.machine() in ('x86_64', 'AMD64'):
    VECTORS |= {'avx2': ('-mavx2', '-mfma'),
                'avx512': ('-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mfma', '-mprefer-vector-width=512')}
PLAN = Library(
    'plan', beside('plan/plan.cpp'), (*sorted(beside('plan')[0].glob('*.h')), *beside('vectors.h')), FLAGS,
    tuple((*beside('plan/kernels.cpp'), (f'-DPLAN_TARGET={name}', *flags)) for name, flags in VECTORS.items()))
OFF = 'MICRONET_MM_REFERENCE'
DIGEST = sha256().digest_size


class BuildError(RuntimeError):
    """Raised if no library can be built or loaded; the message gives the reason and the fix."""


@cache
def library() -> Optional[ctypes.CDLL]:
    """Return the compiled operators, or None after one warning if they are not available.

    Set ``MICRONET_MM_REFERENCE=1`` in the environment to use the plain PyTorch implementation instead.
    """
    if is_off():
        return None
    try:
        return load(OPERATORS)
    except (BuildError, OSError) as error:
        warn_of_reference(error)
        return None


@cache
def has_code(operator: str, *sizes: int) -> bool:
    """Whether the library supports this operator for these sizes. Only the library knows its sizes."""
    function = getattr(library(), f'{operator}_has')
    function.argtypes, function.restype = [ctypes.c_int64] * len(sizes), ctypes.c_bool
    return function(*sizes)


def is_off() -> bool:
    return os.environ.get(OFF, '0') not in ('', '0')


def warn_of_reference(reason: Exception) -> None:
    warnings.warn(f'MicroNet uses the slower PyTorch implementation of its operators: {reason} '
                  f'(Set {OFF}=1 to silence this warning.)', stacklevel=3)


def load(wanted: Library) -> ctypes.CDLL:
    """Load a library from the first file that loads.

    Raises:
        BuildError: if no file loads.
    """
    failures = []
    for path in libraries(wanted, failures):
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            failures.append(f'{path} does not load ({error}); install the missing libraries, or set XDG_CACHE_HOME to '
                            'a folder that code may run from.')
    raise BuildError(' '.join(dict.fromkeys(failures)))


def libraries(wanted: Library, failures: list[str]) -> Iterator[Path]:
    """Yield files to try: a cached file from this compiler, then a new build, then cached files from other compilers.

    The reason for every file that is not available is added to ``failures``.
    """
    command = os.environ.get('CXX', '').split() or [
        next((name for name in ('g++', 'clang++', 'c++') if shutil.which(name)), 'g++')]
    compiler = shutil.which(command[0])
    stem = f'{wanted.name}_{key(wanted)}'
    if compiler:
        name = f'{stem}_{version(compiler)}.so'
        yield from kept(name, failures)
        for folder in folders(failures):
            try:
                yield build(wanted, command, folder / name)
            except BuildError as error:
                failures.append(str(error))
    else:
        failures.append(f'no C++ compiler was found ({command[0]} is not a program); install g++ or set CXX.')
    yield from kept(f'{stem}_*.so', failures)


def key(wanted: Library) -> str:
    """Return the cache key of a library: sources, flags, system and processor. It needs no compiler."""
    variants = [source for source, _ in wanted.variants]
    contents = [file.read_bytes() for file in (*wanted.sources, *wanted.headers, *variants)]
    flags = (*wanted.flags, *(flag for _, more in wanted.variants for flag in more))
    settings = [*flags, os.environ.get('CXX', ''), platform.machine(), *platform.libc_ver()]
    return sha256(b'\0'.join([*contents, ' '.join(settings).encode(), processor()])).hexdigest()[:16]


def version(compiler: str) -> str:
    """Return a fingerprint of the compiler file. Asking the compiler for its version would slow down every start."""
    path = os.path.realpath(compiler)
    found = os.stat(path)
    return sha256(f'{path} {found.st_size} {found.st_mtime_ns}'.encode()).hexdigest()[:8]


def processor() -> bytes:
    """Return what '-march=native' depends on. Different machines may share a cache folder."""
    try:
        lines = set(Path('/proc/cpuinfo').read_text().splitlines())
        features = ('flags', 'Features', 'model name')
        return '\n'.join(sorted(line for line in lines if line.startswith(features))).encode()
    except OSError:
        return f'{platform.machine()} {platform.processor()} {platform.node()}'.encode()


def folders(failures: list[str]) -> Iterator[Path]:
    """Yield the cache folders: XDG_CACHE_HOME, or else the home folder and then the temporary folder."""
    wanted, home = os.environ.get('XDG_CACHE_HOME', ''), os.path.expanduser('~')
    if os.path.isabs(wanted):  # the XDG Base Directory Specification ignores relative paths
        yield Path(wanted, 'micronet_mm')
        return
    if os.path.isabs(home):  # not absolute if the user has neither HOME nor an entry in passwd
        yield Path(home, '.cache', 'micronet_mm')
    if os.name == 'posix':
        try:
            yield private_folder()
        except OSError as error:
            failures.append(f'{error}; set XDG_CACHE_HOME to a folder that can be written.')


def private_folder() -> Path:
    """Return a private folder in the shared temporary folder. A library from another user must never be loaded."""
    user = os.geteuid()
    folder = Path(tempfile.gettempdir(), f'micronet_mm_{user}')
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077:
        raise PermissionError(f'{folder} is not private to user {user}')
    return folder


def kept(pattern: str, failures: list[str]) -> Iterator[Path]:
    """Yield the complete libraries with matching names. Loading a truncated library can kill the process."""
    for folder in folders(failures):
        for name in sorted(glob(pattern, root_dir=folder)):
            if is_whole(folder / name):
                yield folder / name
            else:
                failures.append(f'{folder / name} is damaged or cannot be read.')


def is_whole(path: Path) -> bool:
    """Whether the file ends with the digest of its content."""
    try:
        content = path.read_bytes() if path.is_file() else b''  # reading a pipe would block
    except OSError:
        return False
    return sha256(content[:-DIGEST]).digest() == content[-DIGEST:]


def build(wanted: Library, command: list[str], target: Path) -> Path:
    """Compile the sources and return ``target``. The file appears only when it is complete.

    Raises:
        BuildError: if the compiler fails or the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may build at once. Each uses a separate folder, and the last rename wins.
        with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as folder:
            made = Path(folder, target.name)
            compile_to(wanted, command, made)
            digest = sha256(made.read_bytes()).digest()
            with made.open('ab') as file:
                file.write(digest)
                file.flush()
                with suppress(OSError):  # some file systems refuse; the digest reveals a truncated file
                    os.fsync(file.fileno())
            if target.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            made.replace(target)
    except OSError as error:
        raise BuildError(f'{target.parent} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a writable '
                         'folder.') from None
    return target


def compile_to(wanted: Library, command: list[str], path: Path) -> None:
    """Compile the variants in parallel, then compile the sources and link everything."""
    objects = [path.with_suffix(f'.{number}.o') for number in range(len(wanted.variants))]
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda made, variant: run_compiler(command, *wanted.flags, *variant[1], '-c', '-o', made,
                                                             variant[0], beside=path), objects, wanted.variants):
            pass
    run_compiler(command, *wanted.flags, '-o', path, *wanted.sources, *objects, beside=path)


def run_compiler(command: list[str], *arguments: Union[str, Path], beside: Path) -> None:
    """Run the compiler, with its temporary files in the folder of ``beside``.

    The system's temporary folder may be full or read-only. An optimization level in CXX overrides ours.
    """
    levels = [part for part in command if part.startswith('-O')]
    try:
        run = subprocess.run([*command, *arguments, *levels], capture_output=True, text=True,
                             env={**os.environ, 'TMPDIR': str(beside.parent), 'LC_ALL': 'C'})
    except OSError as error:
        raise BuildError(f'{command[0]} cannot be run: {error.strerror}.') from None
    if run.returncode:
        lines = run.stderr.strip().splitlines() or ['no message']
        told = next((line for line in lines if any(word in line for word in ('error:', 'cannot', 'failed'))), lines[-1])
        raise BuildError(f'{" ".join(command)} failed: {told}. Use a compiler with OpenMP, such as g++.')
