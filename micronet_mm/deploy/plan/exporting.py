"""Models as plans that say what they are, compared with PyTorch before they appear."""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..comparison import TOLERANCE, compare_with
from .compiling import compile_plan
from .engine import OpenPlan, plan_library
from .recording import UnsupportedError

LIBRARY = 'libmicronet_plan.so'  # what micronet_runtime looks for beside a plan
# What weights of linear layers may change, of the largest value: twice what they do in networks of random weights,
# where it grows from block to block (docs/native.md).
TOLERANCES = dict(float32=TOLERANCE, bfloat16=0.05, int8=0.2)


def to_plan(model: nn.Module, size: tuple[int, int], description: dict[str, Any], softmax: bool = False,
            weights: str = 'float32') -> bytes:
    """The file of a model, for images of one size and any number of them.

    Args:
        model: in deploy form; takes images (N, 3, H, W) and names its outputs in ``output_names``.
        size: (H, W) of the images.
        description: as :func:`micronet_mm.deploy.metadata.describe` returns it; in the file it also has ``outputs``,
            the shape of each less its batch, and ``softmax``, and ``quantization`` if the weights are not float32.
        softmax: whether who runs it makes scores of the logits, its only output.
        weights: of linear layers, as for :func:`micronet_mm.deploy.plan.compiling.compile_plan`.

    Raises:
        UnsupportedError: if a plan has no step for something in the model.
    """
    image = torch.zeros(1, 3, *size)
    if not getattr(model, 'absorbed', True):
        raise UnsupportedError('a plan begins with the stem of a MicroNet, which normalizes pixels, and the model has '
                               'none; export an ONNX file.')
    with torch.no_grad():
        outputs = model(image)
    try:
        plan = compile_plan(model, [image], weights)
    except UnsupportedError as error:
        raise UnsupportedError(f'a plan has no step for {error}, which the model has; export an ONNX file.') from None
    names = ['scores'] if softmax else model.output_names
    shapes = {name: list(output.shape[1:]) for name, output in zip(names, outputs)}
    said = {**description, 'outputs': shapes, 'softmax': softmax}
    if weights != 'float32':
        said['quantization'] = weights
    return plan.content(json.dumps(said).encode())


def compare(content: bytes, model: nn.Module, images: Sequence[Tensor], weights: str = 'float32') -> float:
    """How far a plan is from PyTorch, as :func:`micronet_mm.deploy.comparison.compare_with` says.

    Args:
        content: of its file.
        model: gives what the plan gives, before softmax.
        images: each (N, 3, H, W).
        weights: of linear layers in the file, which say how far it may be.
    """
    plan = OpenPlan(content)
    with torch.no_grad():
        dims = [output.dim() for output in model(images[0])]

    def run(feed: dict) -> list:
        outputs = plan([torch.from_numpy(feed['image'])], threads=1)
        return [output.flatten(1).numpy() if dim == 2 else output.numpy() for output, dim in zip(outputs, dims)]

    who = 'the plan' if weights == 'float32' else f'the plan with weights in {weights}'
    return compare_with(who, run, model, images, TOLERANCES[weights])


def library_file() -> Path:
    """Of what runs plans here; it also does so elsewhere, on processors and systems of the same kind.

    Raises:
        BuildError: if it cannot be compiled.
    """
    return Path(plan_library()._name)
