"""Parameters and multiply-adds of a network, by module, by part and by kind of layer.

The counting rule is the paper's: one multiply-add per weight and position of convolutions and linear layers, and J * K
per output element of Shift-Max. Normalization folds into the convolution before it; pooling and plain activations are
free.
"""
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from micronet_mm.layers import ShiftMax, StaticShiftMax
from micronet_mm.ops import reference_only
from micronet_mm.validation import COUNT, checked, instance


class Cost(NamedTuple):
    """What a module costs: parameters, and multiply-adds for one image."""
    params: int = 0
    madds: int = 0

    def __add__(self, other: 'Cost') -> 'Cost':
        return Cost(self.params + other.params, self.madds + other.madds)


@dataclass(frozen=True)
class Complexity:
    """The cost of every module by itself, its children left out.

    Attributes:
        modules: name in ``named_modules()`` -> cost, for the modules that cost anything.
        kinds: name -> kind of layer, see ``kind_of``.
    """
    modules: dict[str, Cost]
    kinds: dict[str, str]

    @property
    def total(self) -> Cost:
        return sum(self.modules.values(), Cost())

    def by_kind(self) -> dict[str, Cost]:
        """Kind of layer -> cost."""
        return self._grouped(self.kinds.__getitem__)

    def by_part(self) -> dict[str, Cost]:
        """Part of the model -> cost: the stem and the stages of a MicroNet, otherwise the top-level modules."""
        return self._grouped(lambda name: re.match(r'(.*\.)?(stem|stages\.\d+)|[^.]*', name)[0])

    def within(self, prefix: str) -> Cost:
        """The cost of one module and all below it."""
        return sum((c for name, c in self.modules.items() if f'{name}.'.startswith(f'{prefix}.')), Cost())

    def _grouped(self, key: Callable[[str], str]) -> dict[str, Cost]:
        groups: dict[str, Cost] = defaultdict(Cost)
        for name, cost in self.modules.items():
            groups[key(name)] += cost
        return dict(groups)


def kind_of(module: nn.Module, shift_max: Optional[ShiftMax]) -> str:
    """'Dynamic Shift-Max' or 'static Shift-Max' for it and what belongs to it; otherwise 'depthwise', 'pointwise' and
    other 'convolution', 'linear', 'normalization', or the name of the class."""
    if shift_max is not None:
        return 'static Shift-Max' if isinstance(shift_max, StaticShiftMax) else 'Dynamic Shift-Max'
    if isinstance(module, nn.Conv2d):
        if module.groups == module.in_channels > 1:
            return 'depthwise'
        return 'pointwise' if module.kernel_size == (1, 1) else 'convolution'
    if isinstance(module, nn.Linear):
        return 'linear'
    return 'normalization' if 'Norm' in type(module).__name__ else type(module).__name__


@checked(model=instance(nn.Module, 'a module'), height=COUNT, width=COUNT, channels=COUNT)
def count(model: nn.Module, height: int = 224, width: int = 224, channels: int = 3, *inputs: Any) -> Complexity:
    """Count ``model`` on one image.

    PyTorch's own FLOP counter does the convolutions, linear layers and matrix products, wherever they are called;
    Shift-Max is added by its formula.

    Args:
        model: called with a tensor (1, channels, height, width), as MMEngine's models are in mode 'tensor'. Its
            training mode is restored.
        height: of the image.
        width: of the image.
        channels: of the image.
        *inputs: what the model is called with behind the image, such as MMLab's data samples.

    Example:
        >>> from micronet_mm.models import MicroNet
        >>> count(MicroNet('m3')).total.madds
        18898784
    """
    madds: dict[str, int] = defaultdict(int)
    names = {module: name for name, module in model.named_modules()}

    def count_shift_max(module: ShiftMax, args: tuple, output: torch.Tensor) -> None:
        madds[names[module]] += module.J * module.K * output.numel()

    hooks = [m.register_forward_hook(count_shift_max) for m in names if isinstance(m, ShiftMax)]
    training = model.training
    try:
        # The counter knows PyTorch's operators, not ours.
        with torch.no_grad(), reference_only(), FlopCounterMode(display=False) as counter:
            device = next(model.parameters()).device
            model.eval()
            model(torch.zeros(1, channels, height, width, device=device), *inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()

    flops = {path: sum(ops.values()) for path, ops in counter.get_flop_counts().items()}

    def attribute(module: nn.Module, path: str) -> int:
        """Book what ``module`` does outside its children under its own name; returns what it does in all."""
        below = sum(attribute(child, f'{path}.{name}') for name, child in module.named_children())
        in_all = flops.get(path, below)  # a container that is only iterated over has no entry
        madds[names[module]] += (in_all - below) // 2
        return in_all

    booked = attribute(model, type(model).__name__)
    assert booked == counter.get_total_flops()

    owners = {name: module for name, module in model.named_modules() if isinstance(module, ShiftMax)}
    modules, kinds = {}, {}
    for name, module in model.named_modules():
        cost = Cost(sum(p.numel() for p in module.parameters(recurse=False)), madds[name])
        if any(cost):
            modules[name] = cost
            kinds[name] = kind_of(module, next((m for o, m in owners.items() if f'{name}.'.startswith(f'{o}.')), None))
    return Complexity(modules, kinds)
