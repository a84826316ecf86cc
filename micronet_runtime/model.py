"""An exported file, its session and its metadata."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import onnxruntime

from .errors import InputError, MissingInputError
from .metadata import KEY, Metadata, parse

SERVED_BY = {'classification': 'Classifier', 'detection': 'Detector', 'keypoints': 'PoseEstimator', 'features': 'Model'}

File = Union[str, Path, 'Model']  # what tasks take


class Model:
    """A file that micronet-mm exported.

    Args:
        path: of the ONNX file.
        threads: that one image is computed by; by default ONNX Runtime's choice.
        providers: of ONNX Runtime, such as ``['CUDAExecutionProvider', 'CPUExecutionProvider']``; by default the CPU.

    Raises:
        MissingInputError: if the file does not exist.
        InputError: if it is no model, not one of ours, or an option cannot be.

    Example:
        >>> model = Model('features.onnx', threads=1)
        >>> print(model.metadata.describe())
        >>> model.run(np.zeros((1, 3, 224, 224), np.float32))  # {'output name': array, ...}
    """

    def __init__(self, path: Union[str, Path], threads: Optional[int] = None,
                 providers: Optional[Sequence[Any]] = None) -> None:
        self.path = str(path)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors, which are raised as well
        if threads is not None:
            if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
                raise InputError(f'threads is {threads!r}; give a number from 1, or None for the default.')
            options.intra_op_num_threads = threads
        self.session = _open(self.path, options, check_providers(providers))
        self.metadata: Metadata = parse(self.session.get_modelmeta().custom_metadata_map.get(KEY), self.path)
        self.outputs = [output.name for output in self.session.get_outputs()]
        inputs = [given.name for given in self.session.get_inputs()]
        self.takes_extent = 'extent' in inputs
        if inputs not in (['image'], ['image', 'extent']):
            raise InputError(f"{self.path} has the inputs {', '.join(inputs)} and not 'image', or that and 'extent', "
                             'alone; export it anew.')

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
            raise InputError(f'{self.path} gives {", ".join(self.outputs)} and not {", ".join(outputs)}; export it not '
                             'raw, but with the decoding inside.')

    def batch_size(self, wanted: Optional[int]) -> int:
        """How many images to give at once; InputError if the file does not take as many as are wanted."""
        fixed = self.metadata.batch
        if wanted is None:
            return fixed or 1
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise InputError(f'batch_size is {wanted!r}; give a number from 1.')
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
        return dict(zip(self.outputs, self.session.run(None, feed)))


def check_providers(providers: Optional[Sequence[Any]]) -> list:
    """What ONNX Runtime is to compute with; InputError if it cannot."""
    if providers is None:
        return ['CPUExecutionProvider']
    there = onnxruntime.get_available_providers()
    for provider in providers:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in there:
            raise InputError(f'{name} is no provider of this ONNX Runtime; give of {", ".join(there)}, or install the '
                             'build that has it.')
    return list(providers)


def _open(path: str, options: onnxruntime.SessionOptions, providers: list) -> onnxruntime.InferenceSession:
    if not Path(path).exists():
        raise MissingInputError(f'the model {path} does not exist; name an exported ONNX file.')
    if not Path(path).is_file():
        raise InputError(f'the model {path} is no file; name an exported ONNX file.')
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its errors have no base of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f'{path} is no model that ONNX Runtime {onnxruntime.__version__} can read ({reason}); export '
                         'it anew, or update onnxruntime.') from None
