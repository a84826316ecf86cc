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

from micronet_mm.deploy.metadata import KEY

from .comparison import compare_with
from .functions import inputs_of

OPSET = 17


def to_onnx(model: nn.Module, size: tuple[int, int], batch: int = 1, open_size: bool = False,
            open_batch: bool = False) -> onnx.ModelProto:
    """The graph of a model, in operators of ONNX alone.

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
    """How far ONNX Runtime is from PyTorch, as :func:`micronet_mm.deploy.comparison.compare_with` says."""
    session = open_session(content)
    return compare_with('ONNX Runtime', lambda feed: session.run(None, feed), model, images)
