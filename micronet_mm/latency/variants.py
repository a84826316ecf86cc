"""The forms in which a network can run, each compared with the network itself before anybody times it."""
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Optional
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from micronet_mm.deploy.comparison import TOLERANCE
from micronet_mm.deploy.export import compare, to_onnx
from micronet_mm.deploy.functions import Normalized

INSTALL = "is not installed: pip install 'micronet-mm[benchmark]'"


@dataclass
class Built:
    """A network to be put into forms.

    Attributes:
        plain: in the form that trains; takes normalized images (N, 3, H, W) and names what it gives in
            ``output_names``.
        size: height and width of the images.
        deploy: makes the form that is deployed, which takes pixels; None where there is none.
        normalization: mean and standard deviation of pixels.
        batch: number of images.
    """
    plain: nn.Module
    size: tuple[int, int]
    deploy: Optional[Callable[[], nn.Module]] = None
    normalization: Optional[tuple[Sequence[float], Sequence[float]]] = None
    batch: int = 1

    @cached_property
    def pixels(self) -> Tensor:
        return torch.rand(self.batch, 3, *self.size, generator=torch.Generator().manual_seed(0)) * 255

    @cached_property
    def normalized(self) -> Tensor:
        """An image as the form that trains takes it."""
        return torch.randn(self.batch, 3, *self.size, generator=torch.Generator().manual_seed(0))

    @cached_property
    def on_pixels(self) -> nn.Module:
        """What an export must equal."""
        return Normalized(self.plain, *self.normalization)

    @cached_property
    def deployed(self) -> nn.Module:
        return self.deploy()

    @cached_property
    def trace(self) -> bytes:
        """The form that trains, exported as anybody would trace it: permutations are reshapes and transpositions."""
        with mock.patch('torch.onnx.is_in_onnx_export', lambda: False):
            content = to_onnx(self.plain, self.size, self.batch).SerializeToString()
        compare(content, self.plain, [self.normalized])
        return content

    @cached_property
    def export(self) -> bytes:
        """What tools/export.py writes."""
        content = to_onnx(self.deployed, self.size, self.batch).SerializeToString()
        compare(content, self.on_pixels, [self.pixels])
        return content


@dataclass
class Contender:
    """A network in one form, ready to run.

    Attributes:
        run: one forward pass.
        nodes: how many the file has, and what is left of them when the runtime has optimized them.
        times: seconds of the passes that were timed.
    """
    network: str
    form: str
    run: Callable[[], Any]
    nodes: Optional[tuple[int, int]] = None
    times: list[float] = field(default_factory=list)


class DiffersError(ValueError):
    """What a runtime gives of a file that is right is not what the network gives, or it has no code for the network."""


Ready = tuple[Callable[[], Any], Optional[tuple[int, int]]]


@contextmanager
def threads_of_pytorch(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_pytorch(model: nn.Module, image: Tensor) -> Ready:

    def run() -> Any:
        with torch.no_grad():
            return model(image)

    return run, None


def in_onnxruntime(content: bytes, image: Tensor, threads: int) -> Ready:
    """A session of all optimizations; it says by a file what they leave."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / 'optimized.onnx'
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3  # it warns that the file is for this kind of processor
        session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
        nodes = tuple(len(graph.graph.node) for graph in (onnx.load_from_string(content), onnx.load(optimized)))
    feed = {'image': image.numpy()}
    return lambda: session.run(None, feed), nodes


def in_openvino(content: bytes, image: Tensor, model: nn.Module, threads: int) -> Ready:
    """In single precision, which OpenVINO leaves by itself where a processor has bfloat16."""
    import openvino
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), 'CPU', {
        'INFERENCE_NUM_THREADS': threads, 'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'})
    request, feed = compiled.create_infer_request(), [image.numpy()]
    found = request.infer(feed)
    with torch.no_grad():
        for ours, theirs in zip((found[output] for output in compiled.outputs), model(image)):
            difference = np.abs(ours - theirs.numpy()).max() / np.abs(theirs.numpy()).max().clip(1e-12)
            if not difference <= TOLERANCE:  # NaN differs
                raise DiffersError(f'OpenVINO and PyTorch differ by {difference:.1e} of the largest value, more than '
                                   f'{TOLERANCE:.0e}')
    nodes = len(onnx.load_from_string(content).graph.node), len(compiled.get_runtime_model().get_ops())
    return lambda: request.infer(feed, share_inputs=True), nodes


def in_native_code(model: nn.Module, images: Tensor, threads: int, weights: str = 'float32',
                   tolerance: float = TOLERANCE) -> Ready:
    """One plan, or where there is none for the whole, as with a flip test, one for each part of the model."""
    from micronet_mm.deploy.fold import native_parts
    from micronet_mm.deploy.plan.compiling import compile_plan
    from micronet_mm.deploy.plan.engine import OpenPlan, run_natively
    from micronet_mm.deploy.plan.recording import UnsupportedError
    with torch.no_grad():
        theirs = model(images)
    try:
        plan = compile_plan(model, [images], weights)
        steps, opened = len(plan.steps), OpenPlan(plan.content())
        run = partial(opened, [images], threads)
    except UnsupportedError:
        model = deepcopy(model)
        parts = [part for whole in model.modules() if isinstance(whole, BaseModel) for part in native_parts(whole)]
        for part in parts:
            run_natively(part, weights)
        run, _ = in_pytorch(model, images)
        run()
        if parts[0].forward.reason:  # of the backbone
            raise DiffersError(parts[0].forward.reason) from None
        steps = sum(opened.number for part in parts for opened, *_ in part.forward.plans.values())
    for ours, other in zip(run(), theirs):
        difference = float((ours.reshape_as(other) - other).abs().max() / other.abs().max().clamp(min=1e-12))
        if not difference <= tolerance:
            raise DiffersError(f'native code and PyTorch differ by {difference:.1e} of the largest value, more than '
                               f'{tolerance:.0e}')
    return run, (steps, steps)


def eager(built: Built, threads: int) -> Ready:
    return in_pytorch(built.plain, built.normalized)


def deploy(built: Built, threads: int) -> Ready:
    return in_pytorch(built.deployed, built.pixels)


def plain_trace(built: Built, threads: int) -> Ready:
    return in_onnxruntime(built.trace, built.normalized, threads)


def export(built: Built, threads: int) -> Ready:
    return in_onnxruntime(built.export, built.pixels, threads)


def openvino(built: Built, threads: int) -> Ready:
    """Of the export, or of the plain trace where there is none."""
    if built.deploy is None:
        return in_openvino(built.trace, built.normalized, built.plain, threads)
    return in_openvino(built.export, built.pixels, built.on_pixels, threads)


def int8(built: Built, threads: int) -> Ready:
    """Of the export; it is not the same function, so it is not compared."""
    from micronet_mm.deploy.quantize import quantize
    return in_onnxruntime(quantize(built.export, [dict(image=built.pixels.numpy())]).content, built.pixels, threads)


def native(built: Built, threads: int) -> Ready:
    """The deploy form, by plans."""
    return in_native_code(built.deployed, built.pixels, threads)


def native_bf16(built: Built, threads: int) -> Ready:
    """The same with weights of linear layers in bfloat16, which blocks of random weights amplify one by one."""
    return in_native_code(built.deployed, built.pixels, threads, 'bfloat16', tolerance=0.1)


def native_int8(built: Built, threads: int) -> Ready:
    """And in int8, with a scale for each output."""
    return in_native_code(built.deployed, built.pixels, threads, 'int8', tolerance=0.1)


FORMS = {'eager': eager, 'deploy': deploy, 'plain trace': plain_trace, 'export': export, 'openvino': openvino,
         'int8': int8, 'native': native, 'native bf16': native_bf16, 'native int8': native_int8}
OF_THE_EXPORT = ('deploy', 'export', 'int8', 'native', 'native bf16', 'native int8')


def missing(form: str) -> Optional[str]:
    """Why a form cannot be measured here and what to do; None if it can."""
    if form == 'openvino' and find_spec('openvino') is None:
        return f'openvino {INSTALL}'
    if form == 'int8' and find_spec('micronet_mm.deploy.quantize') is None:
        return 'this version of micronet-mm has no micronet_mm.deploy.quantize'
    return None


def contenders(name: str, built: Built, forms: Sequence[str], threads: int) -> tuple[list[Contender], list[str]]:
    """The network in all of these forms that it has, and a line for each that a runtime gets wrong.

    Raises:
        ValueError: if an export does not compute what the network does.
    """
    found, omitted = [], []
    with threads_of_pytorch(threads):
        for form in FORMS:
            if form in forms and (built.deploy or form not in OF_THE_EXPORT):
                try:
                    found.append(Contender(name, form, *FORMS[form](built, threads)))
                except DiffersError as error:
                    omitted.append(f'{name} in {form} is left out: {error}')
    return found, omitted
