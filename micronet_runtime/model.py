"""An exported file, its session and its metadata."""
import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union
from weakref import WeakSet

import numpy as np

from .errors import InputError, MissingInputError
from .metadata import KEY, Metadata, parse
from .onnx import open_onnx
from .plan import PlanSession, is_plan
from .shown import shown

SERVED_BY = {'classification': 'Classifier', 'detection': 'Detector', 'keypoints': 'PoseEstimator', 'features': 'Model'}

MOST_THREADS = 1024

File = Union[str, Path, 'Model']  # what tasks take


class Model:
    """A file that micronet-mm exported.

    Args:
        path: of the ONNX file or the plan.
        threads: that one image is computed by, or of a plan the images of a batch; by default ONNX Runtime's choice,
            or all processors.
        providers: of ONNX Runtime, such as ``['CUDAExecutionProvider', 'CPUExecutionProvider']``; by default the CPU,
            which is all that plans run on.

    Raises:
        MissingInputError: if the file does not exist.
        InputError: if it is no model, not one of ours, or an option cannot be.
        PlanError: an InputError, if a plan is damaged or its library does not run here.

    Example:
        >>> model = Model('features.onnx', threads=1)
        >>> print(model.metadata.describe())
        >>> model.run(np.zeros((1, 3, 224, 224), np.float32))  # {'output name': array, ...}
    """

    def __init__(self, path: Union[str, Path], threads: Optional[int] = None,
                 providers: Optional[Sequence[Any]] = None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(f'{shown(path)} is no path of a model; name an exported ONNX file or plan.')
        self.path, self.opened = str(path), (os.path.abspath(path), threads, providers)
        is_number = isinstance(threads, int) and not isinstance(threads, bool)
        if threads is not None and not (is_number and 1 <= threads <= MOST_THREADS):
            raise InputError(f'threads is {shown(threads)}; give a number from 1 to {MOST_THREADS}, or None for the '
                             'default.')
        self.session, description, inputs, self.outputs = open_session(self.path, threads, providers)
        self.metadata: Metadata = parse(description, self.path)
        self.takes_extent = 'extent' in inputs
        if inputs not in (['image'], ['image', 'extent']):
            raise InputError(f"{self.path} has the inputs {', '.join(inputs)} and not 'image', or that and 'extent', "
                             'alone; export it anew.')
        MODELS.add(self)

    def __reduce__(self) -> tuple:
        """Copies and pickles open the file anew: a session belongs to one model and one process."""
        return type(self), self.opened

    @classmethod
    def at(cls, path: File, threads: Optional[int], providers: Optional[Sequence[Any]]) -> 'Model':
        """The model in a file, or the one that is given."""
        return path if isinstance(path, Model) else cls(path, threads, providers)

    def require(self, task: str, outputs: Sequence[str]) -> None:
        """Raise InputError unless the file is for this task and its outputs are decoded."""
        metadata = self.metadata
        if metadata.task != task:
            raise InputError(f'{self.path} is a model for {metadata.task}, which {SERVED_BY[metadata.task]} runs; '
                             f'{SERVED_BY[task]} takes one for {task}.')
        missing = [name for name in outputs if name not in self.outputs]
        if metadata.raw or missing:
            raise InputError(f'{self.path} gives {", ".join(self.outputs)} and not {", ".join(outputs)}; export it '
                             'without --raw.')

    def batch_size(self, wanted: Optional[int]) -> int:
        """How many images to give at once; InputError if the file does not take as many as are wanted."""
        fixed = self.metadata.batch
        if wanted is None:
            return fixed or 1
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise InputError(f'batch_size is {shown(wanted)}; give a number from 1.')
        if fixed not in (None, wanted):
            raise InputError(f'batch_size is {wanted}, and {self.path} takes {fixed} at once; leave it out, or export '
                             'the model with the batch left open.')
        return wanted

    def run(self, images: np.ndarray, extents: Optional[Sequence[tuple[int, int]]] = None) -> dict[str, np.ndarray]:
        """The outputs by name.

        Where the file takes a fixed number of images and fewer come, the last one is repeated: what the outputs say of
        images from ``len(images)`` on is to be ignored.

        Args:
            images: (N, 3, H, W) float32, in the file's order of channels; 0 to 255 if it normalizes inside.
            extents: height and width of each without its padding, for files that want to know; by default (H, W).

        Raises:
            InputError: if the file takes no such array.
        """
        size, batch = self.metadata.size, self.metadata.batch
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.float32 or not images.size:
            raise InputError(f'an array of shape {images.shape} and type {images.dtype} is no input; give one of shape '
                             '(N, 3, H, W) and type float32.')
        if size is not None and images.shape[2:] != size:
            raise InputError(f'an input of {images.shape[2]} x {images.shape[3]} was given, and {self.path} takes '
                             f'{size[0]} x {size[1]} alone; give that, or export the model with its size left open.')
        if batch is not None and len(images) != batch:
            if len(images) > batch:
                raise InputError(f'{len(images)} images were given, and {self.path} takes {batch} at once.')
            images = np.concatenate([images, np.repeat(images[-1:], batch - len(images), 0)])
        feed = {'image': images}
        if self.takes_extent:
            extents = list(extents or [images.shape[2:]])
            feed['extent'] = np.array(extents + extents[-1:] * (len(images) - len(extents)), np.int64)
        if self.session is None:  # after a fork
            self.session, *_ = open_session(*self.opened)
        return dict(zip(self.outputs, self.session.run(None, feed)))


MODELS: WeakSet = WeakSet()


def leave_sessions_of_parent() -> None:
    """After a fork, have sessions of ONNX Runtime be opened anew when they are needed.

    The threads that a session waits for are not in this process, neither when it runs nor when it is closed. So it is
    never closed here.
    """
    for model in MODELS:
        if model.session is not None and not isinstance(model.session, PlanSession):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(model.session))
            model.session = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=leave_sessions_of_parent)


def open_session(path: str, threads: Optional[int],
                 providers: Optional[Sequence[Any]]) -> tuple[Any, Optional[str], list[str], list[str]]:
    """What runs a file, what that says of itself, and the names of its inputs and of its outputs."""
    check_file(path)
    if is_plan(path):
        if providers is not None:
            raise InputError(f'providers are of ONNX Runtime, and {path} is a plan, which a library of its own runs; '
                             'leave them out.')
        session = PlanSession(path, threads)
        return session, session.description, session.inputs, session.outputs
    session = open_onnx(path, threads, providers)
    inputs, outputs = ([each.name for each in group] for group in (session.get_inputs(), session.get_outputs()))
    return session, session.get_modelmeta().custom_metadata_map.get(KEY), inputs, outputs


def check_file(path: str) -> None:
    """Raise InputError unless it is one that can be read."""
    if not Path(path).exists():
        raise MissingInputError(f'the model {path} does not exist; name an exported ONNX file or plan.')
    if not Path(path).is_file():
        raise InputError(f'the model {path} is no file; name an exported ONNX file or plan.')
    try:
        open(path, 'rb').close()
    except OSError as error:
        raise InputError(f'the model {path} cannot be read ({error.strerror}); name another one.') from None
