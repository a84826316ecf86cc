"""Plans: files that a small shared library runs, with neither ONNX Runtime nor a compiler.

``micronet_mm/deploy/plan/writing.py`` of the exporter has the layout of the file.
"""
import ctypes
import json
import os
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Optional
from weakref import WeakSet

import numpy as np

from .decoding import decoder_of
from .errors import PlanError
from .shown import shown

MAGIC, HEADER = b'MICRONET', struct.Struct('<8q')
LIBRARY, WANTED = 'libmicronet_plan.so', 'MICRONET_PLAN_LIBRARY'
ELF = b'\x7fELF'


SESSIONS: WeakSet = WeakSet()


def unlock_in_child() -> None:
    """A thread that another process had at the fork will not open its lock here."""
    for session in SESSIONS:
        session.lock = Lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=unlock_in_child)


def is_plan(path: str) -> bool:
    """Whether a file is a plan, whole or not: by its name, or by how it begins."""
    if Path(path).suffix == '.plan':
        return True
    with open(path, 'rb') as file:
        return file.read(len(MAGIC)) == MAGIC


class PlanSession:
    """A plan in memory, called as a session of ONNX Runtime is.

    Args:
        path: of the file; its library lies beside it, or where ``MICRONET_PLAN_LIBRARY`` in the environment says.
        threads: that the images of a batch are spread over; by default as many as there are processors.

    Raises:
        PlanError: if it is no whole plan, or its library is missing or does not run here.

    Attributes:
        description: what the file says of itself, as JSON.
        inputs: their names.
        outputs: their names, once the plan's own are decoded.
    """

    def __init__(self, path: str, threads: Optional[int] = None) -> None:
        content = Path(path).read_bytes()
        self.description = description_of(content, path)
        self.threads = threads or processors()
        self.opened = os.path.abspath(path), self.threads
        self.library = open_library(library_of(path))
        error = ctypes.create_string_buffer(256)
        self.handle = self.library.micronet_plan_open(content, len(content), error)
        if not self.handle:
            raise PlanError(f'{path} is no plan that can be run ({error.value.decode()}); export it anew, with the '
                            'library beside it.')
        self.lock = Lock()
        SESSIONS.add(self)
        shapes = [self.shapes(ask) for ask in (self.library.micronet_plan_input, self.library.micronet_plan_output)]
        try:
            given = json.loads(self.description)
            self.shape_of = {str(name): tuple(map(int, shape)) for name, shape in given['outputs'].items()}
            self.decoder = decoder_of(given, self.shape_of)
            told = [(3, *given['input']['size'])], [(*shape, 1, 1)[:3] for shape in self.shape_of.values()]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as reason:
            raise PlanError(f'what {path} says of itself cannot be understood ({shown(reason)}); export it '
                            'anew.') from None
        if shapes != list(told):
            raise PlanError(f'{path} has other inputs or outputs than it says; export it anew.')
        self.inputs, self.outputs = list(self.decoder.inputs), list(self.decoder.outputs)

    def __reduce__(self) -> tuple:
        """Copies and pickles open the file anew: memory of the library belongs to one session and one process."""
        return PlanSession, self.opened

    def shapes(self, ask: Callable) -> list[tuple[int, ...]]:
        """(C, H, W) of each input or output."""
        found, shape = [], (ctypes.c_int64 * 3)()
        while ask(self.handle, len(found), shape):
            found.append(tuple(shape))
        return found

    def run(self, names: Optional[Sequence[str]], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, or those of these names, for images (N, 3, H, W) of the plan's size."""
        outputs = self.decoder(self.compute, feed)
        return outputs if names is None else [outputs[self.outputs.index(name)] for name in names]

    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        """The plan's own outputs."""
        images = np.ascontiguousarray(images)
        outputs = [np.empty((len(images), *shape), np.float32) for shape in self.shape_of.values()]
        with self.lock:  # it has memory for one run at a time
            if not self.handle:
                raise PlanError(f'{self.opened[0]} has been closed; open it anew.')
            self.library.micronet_plan_run(self.handle, addresses([images]), addresses(outputs), len(images),
                                           self.threads)
        return outputs

    def __del__(self) -> None:
        handle, self.handle = getattr(self, 'handle', None), None
        if handle:
            self.library.micronet_plan_close(handle)


def description_of(content: bytes, path: str) -> str:
    """What a plan says of itself, behind its weights.

    Raises:
        PlanError: if the file is no plan, cut off, or says nothing.
    """
    if not content.startswith(MAGIC):
        raise PlanError(f'{path} is no plan: it does not begin as one does; name one that tools/export.py wrote.')
    if len(content) >= len(MAGIC) + HEADER.size:
        _, words, _, weights, _, _, _, described = HEADER.unpack_from(content, len(MAGIC))
        start = len(MAGIC) + 8 * words + 4 * weights
        if min(words, weights, described) >= 0 and start + described == len(content):
            if not described:
                raise PlanError(f'{path} is a plan that does not say what it is; export one with tools/export.py.')
            return content[start:].decode(errors='replace')
    raise PlanError(f'{path} is a plan that is cut off or damaged; copy it again, or export it anew.')


def library_of(path: str) -> Path:
    """The library for a plan; PlanError if it is not there."""
    wanted = os.environ.get(WANTED)
    library = Path(wanted) if wanted else Path(path).parent / LIBRARY
    if not library.is_file():
        where = f'{WANTED} in the environment says {library}, which is no file' if wanted else f'{library} is missing'
        raise PlanError(f'{where}: the library that runs {path}; put the one there that was exported with it, or name '
                        f'it in {WANTED}.')
    return library


def open_library(path: Path) -> ctypes.CDLL:
    """The functions of ``plan.h``; PlanError if the file has not them, or nothing that runs here."""
    advice = 'take the one that was exported on a machine of this kind, or export there.'
    content, own = path.read_bytes(), own_header()
    if is_cut_off(content):
        raise PlanError(f'the library {path} is cut off; copy it again.')
    if own[:4] == content[:4] == ELF and (own[4:6], own[18:20]) != (content[4:6], content[18:20]):
        raise PlanError(f'the library {path} is for another kind of processor; {advice}')
    try:
        library = ctypes.CDLL(os.path.abspath(path))
        functions = [getattr(library, f'micronet_plan_{name}') for name in ('open', 'run', 'input', 'output', 'close')]
    except OSError as error:
        raise PlanError(f'the library {path} does not load here ({error}); {advice}') from None
    except AttributeError:
        raise PlanError(f'{path} is a library that does not run plans; {advice}') from None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    types = ((ctypes.c_char_p, size, ctypes.c_char_p), (pointer, pointer, pointer, ctypes.c_int64, ctypes.c_int),
             (pointer, ctypes.c_int, pointer), (pointer, ctypes.c_int, pointer), (pointer, ))
    for function, arguments in zip(functions, types):
        function.argtypes = arguments
    functions[0].restype, functions[1].restype, functions[-1].restype = pointer, None, None
    return library


def is_cut_off(library: bytes) -> bool:
    """Whether a library ends before its table of sections, its last part: to load it may kill the process."""
    if not library.startswith(ELF) or library[4:6] != b'\x02\x01' or len(library) < 64:  # 64 bits, as is usual
        return not library
    place, entry, number = *struct.unpack_from('<Q', library, 40), *struct.unpack_from('<2H', library, 58)
    return place + entry * number > len(library)


def own_header() -> bytes:
    """How the program begins that runs this; nothing if that is not known."""
    try:
        with open(sys.executable, 'rb') as file:
            return file.read(20)
    except OSError:
        return b''


def addresses(arrays: Any) -> ctypes.Array:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
