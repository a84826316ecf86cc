"""Sequences of layers that pass deferred tensors on CPUs."""
from collections.abc import Mapping
from functools import cache
from typing import Optional, Union

import torch
from torch import Tensor, nn

from micronet_mm.ops import Deferred, defer, has_hooks, settle
from micronet_mm.validation import BOOL, Constraint, checked

from .scriptable import ScriptableModule

LAYERS = Constraint('a dict of modules by name', lambda value: isinstance(value, Mapping) and all(
    isinstance(layer, nn.Module) for layer in value.values()))


class Chain(ScriptableModule, nn.Sequential):
    """Run layers in sequence, with an optional shortcut from input to output; without layers, return the input.

    Some layers of this package have a method ``deferred`` besides ``forward``. They receive a deferred tensor if the
    C++ operators run and no hook or mode watches. Every other layer is called with a tensor.

    Args:
        layers: layers by name, in the order they run.
        shortcut: add the input to the output.
        init_cfg: as in MMEngine's BaseModule.
    """

    @checked(layers=LAYERS, shortcut=BOOL)
    def __init__(self, layers: Mapping[str, nn.Module], shortcut: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_scripting():
            y = x
            for layer in self:
                y = layer(y)
            return y + x if self.shortcut else y
        else:  # TorchScript skips this branch
            return settle(self.deferred(defer(x)))

    def deferred(self, x: Union[Tensor, Deferred]) -> Union[Tensor, Deferred]:
        """Run the layers and return a deferred tensor if the C++ operators can be used."""
        y = x
        for layer in self:
            y = hand_on(y, layer)
        return defer(settle(y, settle(x))) if self.shortcut else y


def hand_on(x: Union[Tensor, Deferred], layer: nn.Module) -> Union[Tensor, Deferred]:
    """Call ``layer`` on ``x``, deferred if the layer supports it and has no hooks, else as a tensor."""
    if isinstance(x, Deferred) and takes_deferred(type(layer)) and not has_hooks(layer):
        return layer.deferred(x)
    return defer(layer(settle(x)))


@cache
def takes_deferred(kind: type[nn.Module]) -> bool:
    """Whether ``deferred`` matches ``forward``. It does not match if a subclass redefined only ``forward``."""
    owner = next((base for base in kind.__mro__ if 'deferred' in vars(base) or 'forward' in vars(base)), nn.Module)
    return 'deferred' in vars(owner)
