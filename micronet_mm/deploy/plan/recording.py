"""What a network in deploy form does to a tensor, call by call."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..layers import Affine, DeployShiftMax, DeployStem, Filters, Permutation

# Layers that a plan has steps for, by what they are. What is inside them is not recorded.
LAYERS = (DeployStem, DeployShiftMax, Filters, Permutation, Affine, nn.Linear, nn.Conv2d, nn.ReLU6, nn.ReLU,
          nn.Upsample)


class UnsupportedError(ValueError):
    """A network has a layer that there is no native code for; the message names it."""


@dataclass(eq=False)
class Value:
    """A tensor that was seen, less its batch: (C, H, W) or (C)."""
    shape: tuple[int, ...]


@dataclass(eq=False)
class Call:
    """One call of a layer or function.

    Attributes:
        kind: what is done; of a layer its class, of a function its name.
        layer: the layer; None for a function.
        inputs: the tensors that it read.
        output: the tensor that it made.
        settings: further arguments of a function.
    """
    kind: Any
    layer: Any
    inputs: tuple[Value, ...]
    output: Value
    settings: dict[str, Any] = field(default_factory=dict)


# Functions, as PyTorch hands them to a mode, by the names that calls have.
FUNCTIONS: dict[Callable, str] = {
    F.relu6: 'relu6', F.relu: 'relu', torch.relu: 'relu', F.hardswish: 'hardswish',
    torch.add: 'add', Tensor.add: 'add', Tensor.__add__: 'add', Tensor.add_: 'add',
    Tensor.mean: 'mean', torch.mean: 'mean', F.interpolate: 'interpolate',
    F.max_pool2d: 'max_pool2d',
}
# What reads values, on which the rest of a forward pass may depend.
READ = {Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__,
        Tensor.is_nonzero, Tensor.equal, Tensor.allclose, Tensor.__array__, torch.equal, torch.allclose,
        torch.is_nonzero, Tensor.__contains__}
# What gives its input back as far as a plan is concerned.
SAME = {Tensor.float, Tensor.contiguous, F.dropout, Tensor.detach, Tensor.to}


class Recorder(TorchFunctionMode):
    """Runs a network and writes down what happens to the tensors that come from its inputs.

    Raises:
        UnsupportedError: if something happens to them that a plan has no step for.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls: list[Call] = []
        self.known: dict[int, Value] = {}
        self.kept: list[Tensor] = []  # lest another tensor gets the id of one that is gone
        self.inside = 0
        self.thread = get_ident()  # another one may run the same layers meanwhile

    def record(self, inputs: Sequence[Tensor]) -> tuple[list[Value], list[Value]]:
        """Run the model on these; returns the values of its inputs and outputs."""
        handles = []
        for module in self.model.modules():
            if type(module) in LAYERS:
                handles += [module.register_forward_pre_hook(self.enter),
                            module.register_forward_hook(self.leave, always_call=True)]
        try:
            with torch.no_grad(), self:
                given = [self.note(tensor) for tensor in inputs]
                outputs = self.model(*inputs)
        finally:
            for handle in handles:
                handle.remove()
        found = []
        for output in flat(outputs):
            if id(output) not in self.known:
                raise UnsupportedError('an output that does not come from the input')
            found.append(self.known[id(output)])
        return given, found

    def note(self, tensor: Tensor) -> Value:
        self.kept.append(tensor)
        return self.known.setdefault(id(tensor), Value(tuple(tensor.shape[1:])))

    def made(self, output: Tensor) -> Value:
        """The value that a call has made. Whatever lies where it was written has become it."""
        if id(output) not in self.known:
            return self.note(output)
        value, place = Value(tuple(output.shape[1:])), output.data_ptr()
        self.known.update((id(tensor), value) for tensor in self.kept if tensor.data_ptr() == place)
        return value

    def enter(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.inside += get_ident() == self.thread

    def leave(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if get_ident() != self.thread:
            return
        self.inside -= 1
        if self.inside == 0 and inputs and id(inputs[0]) in self.known and isinstance(output, Tensor):
            self.calls.append(Call(type(layer), layer, (self.known[id(inputs[0])], ), self.made(output)))

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = function(*args, **kwargs)
        tensors = [arg for arg in flat((args, tuple(kwargs.values()))) if isinstance(arg, Tensor)]
        read = [self.known[id(tensor)] for tensor in tensors if id(tensor) in self.known]
        if self.inside or not read:
            return output
        if output is not None and function not in READ and not any(isinstance(each, Tensor) for each in flat(output)):
            return output  # sizes and types; what gives nothing at all writes into a tensor
        if gives_back(function, args, kwargs) and output.dtype == torch.float32:
            self.kept.append(output)
            self.known[id(output)] = read[0]
        elif function in FUNCTIONS and len(read) == len(tensors):
            settings = dict(enumerate(args[1:], 1), **kwargs)
            self.calls.append(Call(FUNCTIONS[function], None, tuple(read), self.made(output), settings))
        else:
            raise UnsupportedError(getattr(function, '__name__', str(function)))
        return output


def gives_back(function: Callable, args: tuple, kwargs: dict) -> bool:
    """Whether a call is one of :data:`SAME`, and drops nothing out."""
    if function is F.dropout:
        return not dict(zip(('input', 'p', 'training'), args), **kwargs).get('training', True)
    return function in SAME


def flat(value: Any) -> list:
    """What a nest of tuples, lists and dicts holds."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return [each for child in value for each in flat(child)]
    return [value]
