"""Exported files in 8 bits. What is computed in them, and what is only stored, was chosen by measuring: docs/int8.md.

ONNX Runtime computes large dense convolutions and linear layers faster in int8. Grouped, depthwise and small ones, of
which a MicroNet's backbone consists, it computes more slowly so, and less precisely; but their weights, above all those
that Dynamic Shift-Max has for its coefficients, are most of a file. These are stored in 8 bits and become floats again
when the file is loaded: ONNX Runtime folds the cast and the product away, so nothing is left of them at run time.
"""
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from micronet_mm.deploy.metadata import KEY

INT8_FROM, STORED_FROM = 8192, 1024  # weights of an operator, from which on it pays
PIXELS = 4  # channels that the first convolution reads: three colors, and in deploy form one of ones
WEIGHTED = {'Conv': 'convolution', 'Gemm': 'linear layer'}


class Quantized(NamedTuple):
    """A quantized file.

    Args:
        content: of the file.
        account: lines for people: what became of its operators, and why.
    """
    content: bytes
    account: str


class Choice(NamedTuple):
    """What becomes of the operators with weights; all others stay as they are.

    Args:
        int8: those that are computed in int8.
        stored: those whose weights are stored in 8 bits.
        exact: the rest of them.
    """
    int8: list[NodeProto]
    stored: list[NodeProto]
    exact: list[NodeProto]


Feed = dict[str, np.ndarray]  # the inputs of a file by name


class Inputs(CalibrationDataReader):
    """Inputs one by one, as ONNX Runtime's calibration asks for them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.left = iter(feeds)

    def get_next(self) -> Optional[Feed]:
        return next(self.left, None)


def quantize(content: bytes, feeds: Sequence[Feed]) -> Quantized:
    """A float file in 8 bits; inputs, outputs and description stay, with ``"quantization": "int8"`` in the latter.

    Activations are unsigned, their ranges the least and the largest value on ``feeds``. Weights are signed and have a
    scale for each output channel; where they are multiplied in int8 they have 7 bits, since processors without VNNI
    add pairs of products in 16 bits, which 8 overflow.

    Args:
        content: of the float file, as ``tools/export.py`` writes it.
        feeds: what the runtime gives to the file: 'image' (N, 3, H, W) float32, and 'extent' to a detector.

    Raises:
        ValueError: if there are no images.

    Example:
        >>> content, account = quantize(Path('float.onnx').read_bytes(), inputs)  # doctest: +SKIP
        >>> Path('int8.onnx').write_bytes(content)                                # doctest: +SKIP
    """
    if not feeds:
        raise ValueError('no image was given to measure ranges on; give some that the model is made for.')
    given = onnx.load_from_string(content)
    with tempfile.TemporaryDirectory() as folder:
        plain, result = Path(folder) / 'plain.onnx', Path(folder) / 'int8.onnx'
        quant_pre_process(given, plain, skip_symbolic_shape=True)  # the symbolic one needs sympy, and finds no more
        graph = onnx.load(plain)
        for index, node in enumerate(graph.graph.node):  # ONNX Runtime asks for operators by name
            node.name = node.name or f'{node.op_type}_{index}'
        choice = choose(graph)
        if choice.int8:
            onnx.save(graph, plain)
            names = [node.name for node in with_clamps(graph, choice.int8)]
            quantize_static(
                plain, result, Inputs(feeds), QuantFormat.QDQ, [*WEIGHTED, 'Relu', 'Clip'], per_channel=True,
                reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                nodes_to_quantize=names)
            graph = onnx.load(result)
    store(graph, {node.name for node in choice.stored})
    label(graph, given)
    onnx.checker.check_model(graph)
    return Quantized(graph.SerializeToString(), account(choice))


def choose(graph: onnx.ModelProto) -> Choice:
    """Decide by what was measured; operators that share a weight are alike and have one fate."""
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    coefficients = leading_to_maps(graph)
    choice = Choice([], [], [])
    for node in graph.graph.node:
        if node.op_type not in WEIGHTED or node.input[1] not in weights:
            continue
        weight = weights[node.input[1]].dims
        count = int(np.prod(weight))
        if node.op_type == 'Conv':
            dense = attribute(node, 'group', 1) == 1
            first = dense and weight[1] <= PIXELS
        else:
            dense, first = node.output[0] not in coefficients, False
        if first or count < STORED_FROM:
            choice.exact.append(node)
        elif dense and count >= INT8_FROM:
            choice.int8.append(node)
        else:
            choice.stored.append(node)
    return choice


def leading_to_maps(graph: onnx.ModelProto) -> set[str]:
    """Tensors from which a tensor of four dimensions comes. A linear layer's among them are coefficients of maps."""
    maps = {info.name for info in (*graph.graph.value_info, *graph.graph.output)
            if len(info.type.tensor_type.shape.dim) == 4}
    leading: set[str] = set()
    for node in reversed(graph.graph.node):  # they are in the order of computation
        if any(name in maps or name in leading for name in node.output):
            leading.update(node.input)
    return leading


def with_clamps(graph: onnx.ModelProto, nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The operators and the clamps right behind them, which an unsigned range has in itself."""
    outputs = {node.output[0] for node in nodes}
    return [*nodes, *(node for node in graph.graph.node
                      if node.op_type in ('Relu', 'Clip') and node.input[0] in outputs)]


def store(graph: onnx.ModelProto, names: set[str]) -> None:
    """Store the weights of these operators in 8 bits, in place, and have them cast and scaled before they are used."""
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    restored: dict[str, str] = {}
    steps = []
    for node in graph.graph.node:
        if node.name not in names:
            continue
        name = node.input[1]
        if name not in restored:
            array = numpy_helper.to_array(weights[name])
            axis = 1 if node.op_type == 'Gemm' and not attribute(node, 'transB', 0) else 0
            others = tuple(dim for dim in range(array.ndim) if dim != axis)
            scale = np.maximum(np.abs(array).max(others, keepdims=True) / 127, np.finfo(np.float32).tiny)
            restored[name] = f'{name}_restored'
            graph.graph.initializer.extend([
                numpy_helper.from_array(np.round(array / scale).astype(np.int8), f'{name}_8bit'),
                numpy_helper.from_array(scale.astype(np.float32), f'{name}_scale')])
            # DequantizeLinear says the same, but ONNX Runtime would carry it out for every image.
            steps += [helper.make_node('Cast', [f'{name}_8bit'], [f'{name}_float'], to=onnx.TensorProto.FLOAT),
                      helper.make_node('Mul', [f'{name}_float', f'{name}_scale'], [restored[name]])]
        node.input[1] = restored[name]
    read = {name for node in graph.graph.node for name in node.input}
    for name in set(restored) - read:
        graph.graph.initializer.remove(weights[name])
    nodes = [*steps, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def label(graph: onnx.ModelProto, given: onnx.ModelProto) -> None:
    """The float file's metadata with what is new; what tools noted on the way is dropped."""
    metadata = {entry.key: entry.value for entry in given.metadata_props}
    metadata[KEY] = json.dumps({**json.loads(metadata.get(KEY, '{}')), 'quantization': 'int8'})
    onnx.helper.set_model_props(graph, metadata)
    graph.producer_name, graph.producer_version = given.producer_name, given.producer_version
    domains = {node.domain for node in graph.graph.node}
    imports = [opset for opset in graph.opset_import if opset.domain in domains | {''}]
    del graph.opset_import[:]
    graph.opset_import.extend(imports)


def attribute(node: NodeProto, name: str, default: int) -> int:
    return next((entry.i for entry in node.attribute if entry.name == name), default)


def account(choice: Choice) -> str:
    whys = (f'dense, of {INT8_FROM} weights or more', 'grouped, depthwise, small, or of coefficients, where int8 is '
            'slower and loses more', f'first ones, which read pixels, and those of fewer than {STORED_FROM} weights')
    names = ('in int8', 'in float, their weights stored in 8 bits', 'in float')
    counts = [Counter(WEIGHTED[node.op_type] for node in nodes) for nodes in choice]
    said = [' and '.join(f'{number} {kind}{"s" * (number > 1)}' for kind, number in found.items()) for found in counts]
    return '\n'.join(f'{name}: {what or "none"} ({why})' for name, what, why in zip(names, said, whys)) + (
        '; and all other operators')
