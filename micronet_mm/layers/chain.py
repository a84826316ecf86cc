"""Layers in a row, which on CPUs hand tensors on deferred."""
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
    """Layers in a row, and their input added to what they give if asked for; no layers are the identity.

    Layers of this package that have a method ``deferred`` beside ``forward`` are given a deferred tensor where the C++
    operators run and nobody watches. Any other layer is called with a tensor, whatever stands in whichever place.

    Args:
        layers: in the order they run, by name.
        shortcut: add the input.
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
        else:  # which TorchScript does not look into
            return settle(self.deferred(defer(x)))

    def deferred(self, x: Union[Tensor, Deferred]) -> Union[Tensor, Deferred]:
        """The same, deferred as far as its last layer can."""
        y = x
        for layer in self:
            y = hand_on(y, layer)
        return defer(settle(y, settle(x))) if self.shortcut else y


def hand_on(x: Union[Tensor, Deferred], layer: nn.Module) -> Union[Tensor, Deferred]:
    """What ``layer`` makes of ``x``: of a tensor, unless it can take it deferred and nobody watches it."""
    if isinstance(x, Deferred) and takes_deferred(type(layer)) and not has_hooks(layer):
        return layer.deferred(x)
    return defer(layer(settle(x)))


@cache
def takes_deferred(kind: type[nn.Module]) -> bool:
    """Whether a method ``deferred`` says what ``forward`` says: not where a subclass redefined only the latter."""
    owner = next((base for base in kind.__mro__ if 'deferred' in vars(base) or 'forward' in vars(base)), nn.Module)
    return 'deferred' in vars(owner)
