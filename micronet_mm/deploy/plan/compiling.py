"""From the calls of a network to the steps of a plan.

A permutation is no step: whoever reads the map behind it gets the places. Shift-Max is none either where a pointwise
convolution reads it, nor is a clamp or a sum behind what writes a map, nor an expanding convolution before a depthwise
one: each is done on the way. Means, which the coefficients of Shift-Max come from, are taken while the map is written.
"""
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Optional

import numpy as np
from torch import Tensor, nn

from micronet_mm.layers import SpatialAttention

from ..layers import Affine, DeployShiftMax, DeployStem, Filters, Permutation
from .convolutions import (
    axes,
    bias_of,
    group_weights,
    has_step,
    is_line,
    is_pointwise,
    line_weights,
    lines_of,
    numpy,
    part_weights,
)
from .linear import check_weights, linear_weights, padded
from .recording import Call, Recorder, UnsupportedError, Value
from .resizing import is_smooth, picked_places
from .sources import ANY, Fusion, Range, Source, map_of, range_of, vector
from .stem import two_convolutions
from .writing import MAP, WIDEST, Entry, Plan


def compile_plan(model: nn.Module, inputs: Sequence[Tensor], weights: str = 'float32') -> Plan:
    """The plan of a network in deploy form for inputs of these sizes.

    Args:
        model: takes one or several maps, or an image if it begins with a stem.
        inputs: examples; their number of images does not matter.
        weights: type of those of linear layers, whose time is that of reading them: 'float32', 'bfloat16' or 'int8',
            with a scale for each output. Sums are float32 anyway.

    Raises:
        ValueError: if there is no such type of weights.
        UnsupportedError: if there is no code for something in it.
    """
    check_weights(weights)
    recorder = Recorder(model)
    given, found = recorder.record([tensor[:1].float() for tensor in inputs])
    return Compiler(recorder.calls, given, found, weights).plan


class Compiler:
    """Takes the calls in the order in which they were made."""

    def __init__(self, calls: Sequence[Call], inputs: Sequence[Value], outputs: Sequence[Value],
                 weights: str = 'float32') -> None:
        self.plan = Plan()
        self.weights_of_linear = weights
        self.readers: dict[Value, list[Call]] = {}
        for call in calls:
            for value in call.inputs:
                self.readers.setdefault(value, []).append(call)
        self.outputs = set(outputs)
        self.sources: dict[Value, Source] = {}
        self.vectors: dict[Value, Entry] = {}
        self.means: dict[Entry, Entry] = {}
        self.done: set[Call] = set()
        self.laid: dict[tuple[nn.Conv2d, Callable], tuple[Any, ...]] = {}
        self.inputs: dict[Value, int] = {}
        for number, value in enumerate(inputs):
            entry = map_of(value)
            self.plan.inputs.append(entry)
            self.inputs[value] = number
            if not all(isinstance(call.layer, DeployStem) for call in self.readers.get(value, [])):
                self.plan.add('load', number, entry)
                self.sources[value] = Source(entry)
        for call in calls:
            if call not in self.done:
                self.take(call)
        for number, value in enumerate(outputs):
            if value in self.vectors:
                self.plan.outputs.append(self.vectors[value])
                self.plan.add('store', number, value.shape[0], None)
            else:
                source = self.at_hand(value)
                self.plan.outputs.append(source.map)
                self.plan.add('store', number, value.shape[0], self.places(source))

    def take(self, call: Call) -> None:
        handler = HANDLERS.get(call.kind)
        if handler is None:
            raise UnsupportedError(call.kind if isinstance(call.kind, str) else call.kind.__name__)
        handler(self, call)

    # What is known of values

    def sole_reader(self, value: Value) -> Optional[Call]:
        """The call that reads the value, if one alone does and it is no output."""
        readers = self.readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def range_behind(self, value: Value) -> tuple[Value, Range]:
        """The value behind a clamp that alone reads this one, and the range of that."""
        reader = self.sole_reader(value)
        if reader is None or range_of(reader) is None:
            return value, ANY
        self.done.add(reader)
        return reader.output, range_of(reader)

    def added_behind(self, value: Value) -> tuple[Value, Optional[Entry]]:
        """The value behind a sum that alone reads this one, and what is added, if that is at hand."""
        reader = self.sole_reader(value)
        if reader is None or reader.kind != 'add' or reader.settings.get('alpha', 1) != 1:
            return value, None
        other = next(each for each in reader.inputs if each is not value) if len(set(reader.inputs)) == 2 else None
        source = self.sources.get(other)
        if source is None or other.shape != value.shape or not source.is_map:
            return value, None
        self.done.add(reader)
        return reader.output, source.map

    def made(self, value: Value) -> Entry:
        """A map for a value."""
        self.sources[value] = Source(map_of(value))
        return self.sources[value].map

    def written(self, value: Value) -> tuple[Entry, Optional[Entry]]:
        """A map for a value, and a vector for its mean if Shift-Max will ask for it."""
        entry = self.made(value)
        if not any(isinstance(call.layer, DeployShiftMax) for call in self.readers.get(value, [])):
            return entry, None
        self.means[entry] = vector(value.shape[0])
        return entry, self.means[entry]

    def places(self, source: Source) -> Optional[Entry]:
        return None if source.order is None else self.plan.ints(source.order)

    def at_hand(self, value: Value, natural: bool = False) -> Source:
        """A value with nothing left to do but to find its channels; with ``natural``, not even that."""
        source = self.sources.get(value)
        if source is None:
            raise UnsupportedError('a map that is made of a vector' if value in self.vectors else 'a map of no step')
        if source.expand:
            self.pointwise(replace(source, expand=None), *source.expand, self.made(value), None, None)
        elif source.fusion or (natural and source.order is not None):
            self.plan.add('elementwise', self.made(value), *self.read(source), *ANY, None, None)
        return self.sources[value]

    def read(self, source: Source) -> tuple[Any, ...]:
        """The arguments of a step that reads a source."""
        fusion = source.fusion or Fusion()
        return (source.map, self.places(source), fusion.J, fusion.K, fusion.partners, fusion.coefficients,
                fusion.factors)

    # Layers

    def take_stem(self, call: Call) -> None:
        stem: DeployStem = call.layer
        number = self.inputs.get(call.inputs[0])
        if number is None:
            raise UnsupportedError('a stem that does not read the image')
        vertical, vertical_bias, horizontal, horizontal_bias = two_convolutions(stem)
        mean, std = (np.asarray(each, np.float64) for each in stem.pixels or ([0.0] * vertical.shape[1],
                                                                            [1.0] * vertical.shape[1]))
        value, range_ = self.range_behind(call.output)
        floats = self.plan.floats
        self.plan.add('stem', number, self.made(value), len(vertical), len(horizontal) // len(vertical),
                      floats(1 / std), floats(-mean / std), floats(vertical), floats(vertical_bias),
                      floats(horizontal), floats(horizontal_bias), *range_)

    def take_conv(self, call: Call) -> None:
        convs = list(call.layer) if isinstance(call.layer, Filters) else [call.layer]
        if all(is_line(conv) for conv in convs):
            self.take_lines(call, convs)
        elif len(convs) == 1 and is_pointwise(convs[0]):
            value, range_ = self.range_behind(call.output)
            reader, source = self.sole_reader(value), self.sources[call.inputs[0]]
            if source.expand:
                source = self.at_hand(call.inputs[0])
            if reader and lines_of(reader) and not source.fusion:
                self.sources[value] = replace(source, expand=(call.layer, range_))
                return
            value, added = self.added_behind(value) if range_ == ANY else (value, None)
            entry, mean = self.written(value)
            self.pointwise(source, call.layer, range_, entry, added, mean)
        elif len(convs) == 1 and has_step(convs[0]):
            self.take_convolution(call)
        else:
            conv = convs[0]
            raise UnsupportedError(f'a convolution of {conv.kernel_size}, stride {conv.stride}, dilation '
                                   f'{conv.dilation}, {conv.groups} groups')

    def take_convolution(self, call: Call) -> None:
        """Over channels and places."""
        source = self.at_hand(call.inputs[0])
        value, range_ = self.range_behind(call.output)
        value, added = self.added_behind(value) if range_ == ANY else (value, None)
        self.plan.add('convolution', *axes(call.layer), *self.weights(call.layer, part_weights), *range_, source.map,
                      self.places(source), self.made(value), added)

    def pointwise(self, source: Source, conv: nn.Conv2d, range_: Range, entry: Entry, added: Optional[Entry],
                  mean: Optional[Entry]) -> None:
        self.plan.add('pointwise', *self.weights(conv), *range_, *self.read(source), entry, added, mean)

    def weights(self, conv: nn.Conv2d, lay: Callable[[nn.Conv2d], np.ndarray] = group_weights) -> tuple[Any, ...]:
        """Groups, inputs and outputs of each, weights as they are to lie, bias. Heads share them between levels."""
        if (conv, lay) not in self.laid:
            self.laid[conv, lay] = (conv.groups, conv.in_channels // conv.groups, conv.out_channels // conv.groups,
                                    self.plan.floats(lay(conv)), self.plan.floats(bias_of(conv)))
        return self.laid[conv, lay]

    def take_lines(self, call: Call, vertical: list[nn.Conv2d]) -> None:
        """A vertical depthwise convolution and the horizontal one behind it."""
        reader = self.sole_reader(call.output)
        horizontal = lines_of(reader) if reader else None
        if not horizontal or vertical[0].kernel_size[1] != 1 or horizontal[0].kernel_size[0] != 1 or (
                vertical[0].kernel_size[0], vertical[0].stride[0]) != (horizontal[0].kernel_size[1],
                                                                      horizontal[0].stride[1]):
            raise UnsupportedError('a depthwise convolution along one axis alone')
        self.done.add(reader)
        value, range_ = self.range_behind(reader.output)
        source = self.sources[call.inputs[0]]
        if source.fusion:
            source = self.at_hand(call.inputs[0])
        if source.expand and (source.expand[0].out_channels // source.expand[0].groups < WIDEST
                              or len(vertical) + len(horizontal) > 2):
            source = self.at_hand(call.inputs[0])
        expand = (1, *self.weights(source.expand[0]), *source.expand[1]) if source.expand else (0, )
        k, stride = vertical[0].kernel_size[0], vertical[0].stride[0]
        entry, mean = self.written(value)
        weights = [self.plan.floats(array) for convs in (vertical, horizontal) for array in line_weights(convs)]
        self.plan.add('lines', source.map, *expand, self.places(source), len(vertical), len(horizontal), k, stride,
                      entry, *weights, *range_, mean)

    def take_permutation(self, call: Call) -> None:
        source = self.sources[call.inputs[0]]
        if source.expand:
            source = self.at_hand(call.inputs[0])
        index = numpy(call.layer.index).astype(np.int64)
        self.sources[call.output] = replace(source, order=index if source.order is None else source.order[index])

    def take_shift_max(self, call: Call) -> None:
        layer: DeployShiftMax = call.layer
        if layer.squeeze is None or layer.J > 2 or layer.K > 2:
            raise UnsupportedError(f'Shift-Max with static coefficients, J = {layer.J} or K = {layer.K}')
        value = call.inputs[0]
        source = self.at_hand(value, natural=True)
        mean = self.means.get(source.map) or self.pooled(source.map, ANY, False)
        hidden = self.linear(mean, layer.squeeze, False, (0.0, inf))
        start = numpy(layer.start).reshape(-1)
        coefficients = self.linear(hidden, layer.excite, False, (-2.0, 2.0), start)
        partners = self.plan.ints(numpy(layer.partner1)) if layer.J == 2 else None
        factors = None if layer.attention is None else self.attention(source, layer.attention)
        fused = Source(source.map, None, Fusion(coefficients, partners, layer.J, layer.K, factors))
        out, range_ = self.range_behind(call.output)
        if range_ == ANY:
            self.sources[out] = fused
            return
        entry, mean = self.written(out)
        self.plan.add('elementwise', entry, *self.read(fused), *range_, None, mean)

    def attention(self, source: Source, layer: SpatialAttention) -> Entry:
        logits, factors = (Entry(MAP, (1, *source.map.shape[1:])) for _ in range(2))
        self.pointwise(source, layer.conv, ANY, logits, None, None)
        self.plan.add('attend', logits, factors, float(layer.temperature))
        return factors

    def linear(self, x: Entry, layer: nn.Module, swish: bool, range_: Range,
               start: Optional[np.ndarray] = None) -> Entry:
        weight = numpy(layer.weight) if isinstance(layer, Affine) else numpy(layer.weight).T
        y = vector(weight.shape[1])
        tail = (0, ) if start is None else (1, self.plan.floats(padded(start)))
        self.plan.add('linear', x, y, *linear_weights(self.plan, weight, self.weights_of_linear),
                      self.plan.floats(padded(bias_of(layer))), int(swish), *range_, *tail)
        return y

    def take_linear(self, call: Call) -> None:
        """A linear layer, with the hard swish behind it."""
        x, value = self.vectors.get(call.inputs[0]), call.output
        if x is None:
            raise UnsupportedError('a linear layer of a map')
        reader = self.sole_reader(value)
        swish = reader is not None and reader.kind == 'hardswish'
        if swish:
            self.done.add(reader)
            value = reader.output
        self.vectors[value] = self.linear(x, call.layer, swish, ANY)

    def pooled(self, map_: Entry, range_: Range, swish: bool) -> Entry:
        y = vector(map_.shape[0])
        self.plan.add('pool', map_, y, *range_, int(swish))
        return y

    # Functions

    def take_mean(self, call: Call) -> None:
        axes = call.settings.get(1, call.settings.get('dim'))
        if tuple(axes or ()) not in ((2, 3), (-2, -1)) or len(call.output.shape) != 1:
            raise UnsupportedError(f'a mean over {axes}')
        value, reader = call.output, self.sole_reader(call.output)
        swish = reader is not None and reader.kind == 'hardswish'
        if swish:
            self.done.add(reader)
            value = reader.output
        self.vectors[value] = self.pooled(self.at_hand(call.inputs[0], natural=True).map, ANY, swish)

    def take_clamp(self, call: Call) -> None:
        """One that nobody else did on the way."""
        source = self.at_hand(call.inputs[0])
        entry, mean = self.written(call.output)
        self.plan.add('elementwise', entry, *self.read(source), *range_of(call), None, mean)

    def take_resized(self, call: Call) -> None:
        value, places = call.inputs[0], picked_places(call)
        channels, height, width = value.shape
        is_double = call.output.shape == (channels, 2 * height, 2 * width)
        if is_double and is_smooth(call):
            self.plan.add('doubled', self.at_hand(value, natural=True).map, self.made(call.output), 1)
        elif places is None:
            raise UnsupportedError(f'{call.kind if call.layer is None else call.layer} from {value.shape} to '
                                   f'{call.output.shape}')
        elif is_double and all(np.array_equal(each, np.arange(len(each)) // 2) for each in places):
            self.plan.add('doubled', self.at_hand(value, natural=True).map, self.made(call.output), 0)
        else:
            self.plan.add('picked', self.at_hand(value, natural=True).map, self.made(call.output),
                          *map(self.plan.ints, places))

    def take_add(self, call: Call) -> None:
        if len(call.inputs) != 2 or call.settings.get('alpha', 1) != 1 or call.inputs[0].shape != call.inputs[1].shape:
            raise UnsupportedError('a sum of other than two maps of one shape')
        first, second = call.inputs
        if self.sources.get(second, None) and self.sources[second].fusion:
            first, second = second, first
        added = self.at_hand(second, natural=True).map
        source = self.sources[first]
        if source.expand:
            source = self.at_hand(first)
        entry, mean = self.written(call.output)
        self.plan.add('elementwise', entry, *self.read(source), *ANY, added, mean)


HANDLERS: dict[Any, Callable[[Compiler, Call], None]] = {
    DeployStem: Compiler.take_stem, nn.Conv2d: Compiler.take_conv, Filters: Compiler.take_conv,
    Permutation: Compiler.take_permutation, DeployShiftMax: Compiler.take_shift_max, Affine: Compiler.take_linear,
    nn.Linear: Compiler.take_linear, nn.ReLU6: Compiler.take_clamp, nn.ReLU: Compiler.take_clamp,
    nn.Upsample: Compiler.take_resized, 'interpolate': Compiler.take_resized, 'max_pool2d': Compiler.take_resized,
    'relu6': Compiler.take_clamp, 'relu': Compiler.take_clamp, 'mean': Compiler.take_mean, 'add': Compiler.take_add,
}
