"""Models as ONNX files that say what they are, compared with PyTorch before they appear."""
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

try:
    import onnx
    import onnxruntime
except ModuleNotFoundError as error:
    message = f"exporting needs {error.name}, which is not installed: pip install 'micronet-mm[export]'."
    raise ModuleNotFoundError(message, name=error.name) from None

from .contract import KEY
from .layers import DeployStem

OPSET = 17
TOLERANCE = 1e-4  # of the largest value of an output
RARELY = 50


class Features(nn.Module):
    """A backbone as a function of an image: its feature maps."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.output_names = [f'stage{index}' for index in backbone.out_indices]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(image))


class Scores(nn.Module):
    """A classifier of mmpretrain as a function of an image: probabilities of the classes, or logits."""

    def __init__(self, model: nn.Module, raw: bool = False) -> None:
        super().__init__()
        self.model, self.raw = model, raw
        self.output_names = ['logits' if raw else 'scores']

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits = self.model.head(self.model.extract_feat(image))
        return (logits if self.raw else logits.softmax(1), )


class Normalized(nn.Module):
    """A model that takes pixels from 0 to 255."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.output_names = model, model.output_names
        self.takes_extent = getattr(model, 'takes_extent', False)
        stem = next((m for m in model.modules() if isinstance(m, DeployStem)), None)
        self.absorbed = stem is not None
        if self.absorbed:
            stem.take_pixels(mean, std)
        self.register_buffer('mean', torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer('std', torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor, *extent: Tensor) -> tuple[Tensor, ...]:
        return self.model(image if self.absorbed else (image - self.mean) / self.std, *extent)


def inputs_of(model: nn.Module, image: Tensor, padding: int = 0) -> dict[str, Tensor]:
    """What a model is called with for images whose last rows and columns are padding."""
    if not getattr(model, 'takes_extent', False):
        return dict(image=image)
    # Images of a batch differ, so that one that is taken for another is noticed.
    extent = torch.tensor([[side - padding - 4 * index for side in image.shape[2:]] for index in range(len(image))])
    return dict(image=image, extent=extent)


def to_onnx(model: nn.Module, size: tuple[int, int], batch: int = 1, open_size: bool = False,
            open_batch: bool = False) -> onnx.ModelProto:
    """The graph of a model of this file, in operators of ONNX alone.

    Args:
        model: takes images (N, 3, H, W) and names its outputs in ``output_names``.
        size: height and width to trace with.
        batch: number of images to trace with.
        open_size: whether the file takes other sizes.
        open_batch: whether it takes other numbers of images.
    """
    inputs = inputs_of(model, torch.rand(batch, 3, *size) * 255)
    axes = {**({0: 'batch'} if open_batch else {}), **({2: 'height', 3: 'width'} if open_size else {})}
    with torch.no_grad():
        dims = {name: output.dim() for name, output in zip(model.output_names, model(*inputs.values()))}
    spaces = {name: {axis: f'{name}_{label}' if axis else label for axis, label in axes.items() if axis < dim}
              for name, dim in dims.items()}
    if 'boxes' in dims:
        spaces = {name: {0: 'found'} for name in dims}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        torch.onnx.export(model, tuple(inputs.values()), path, dynamo=False, opset_version=OPSET,
                          input_names=list(inputs), output_names=list(dims), dynamic_axes={'image': axes, **spaces})
        graph = onnx.load(path)
    onnx.checker.check_model(graph)
    foreign = {f'{node.domain}.{node.op_type}' for node in graph.graph.node if node.domain not in ('', 'ai.onnx')}
    if foreign:
        raise ValueError(f'{sorted(foreign)} of the model are no operators of ONNX, so it cannot be exported.')
    return graph


def label(graph: onnx.ModelProto, description: dict[str, Any]) -> None:
    """Write what the file says of itself into it."""
    graph.metadata_props.add(key=KEY, value=json.dumps(description))
    graph.producer_name = 'micronet-mm'


def open_session(content: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])


def compare(content: bytes, model: nn.Module, images: Sequence[Tensor]) -> float:
    """How far ONNX Runtime is from PyTorch: the largest difference, relative to the largest value of its output.

    Decoding takes maxima, and suppression compares. Where two values are nearly as large, rounding decides, so that of
    boxes and keypoints one in :data:`RARELY` may be another one.

    Raises:
        ValueError: if that is more than :data:`TOLERANCE`.
    """
    session, worst = open_session(content), 0.0
    for number, image in enumerate(images):
        inputs = inputs_of(model, image, padding=number % 2 * 9)
        feed = {name: value.numpy() for name, value in inputs.items()}
        ours = [torch.from_numpy(output) for output in session.run(None, feed)]
        with torch.no_grad():
            theirs = model(*inputs.values())
        decoded = {'boxes', 'keypoints'} & set(model.output_names)
        for name, mine, other in zip(model.output_names, ours, theirs):
            if mine.shape != other.shape:
                raise ValueError(f'ONNX Runtime gives {name} of shape {tuple(mine.shape)} and PyTorch of '
                                 f'{tuple(other.shape)} for an image of {tuple(image.shape)}; nothing was written.')
            if other.numel():
                rows = (mine.double() - other.double()).abs().reshape(-1, other.shape[-1] if decoded else other.numel())
                rows = rows.amax(1).sort().values / other.abs().max().clamp(min=1e-12)
                worst = max(worst, float(rows[-1 - len(rows) // RARELY]))
        if worst > TOLERANCE:
            hint = ' Scores that are nearly equal, as in an untrained model, come in another order.' if decoded else ''
            raise ValueError(f'ONNX Runtime and PyTorch differ by {worst:.1e} of the largest value for an image of '
                             f'{tuple(image.shape)}, more than {TOLERANCE:.0e}; nothing was written.{hint}')
    return worst
