"""Which of its fusions Shift-Max takes where: layer by layer, for an image."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from micronet_mm.layers import ShiftMax
from micronet_mm.ops import channel_roll

COLUMNS = 4


@dataclass(frozen=True)
class Fusions:
    """What one layer takes.

    Attributes:
        name: of the layer in the network.
        shares: (K) of all channels and places, the part that takes each fusion.
        second: (H, W) of the channels, the part that takes another fusion than the first.
        fused: how many of K * J coefficients, over all channels, are further than 0.1 from where they began.
    """
    name: str
    shares: Tensor
    second: Tensor
    fused: float


def fusions_of(model: nn.Module, images: Tensor) -> list[Fusions]:
    """Of every layer of Shift-Max that has several fusions, in the order in which they run.

    Args:
        model: is called with the images, as it is: in evaluation mode, if that is meant.
        images: (1, C, H, W), as the model takes them.

    Raises:
        ValueError: if there is no such layer, or not one image.
    """
    layers = {module: name for name, module in model.named_modules() if isinstance(module, ShiftMax) and module.K > 1}
    if not layers:
        raise ValueError('the model has no layer of Shift-Max with several fusions; give one with K of at least 2.')
    if len(images) != 1:
        raise ValueError(f'{len(images)} images were given, and fusions are shown of one.')
    found: list[Fusions] = []

    def note(layer: ShiftMax, inputs: tuple[Any, ...], _: Any) -> None:
        found.append(taken_by(layer, layers[layer], inputs[0]))

    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def taken_by(layer: ShiftMax, name: str, x: Tensor) -> Fusions:
    """The fusions that a layer takes of ``x``, (1, C, H, W)."""
    mean = (x.mean((2, 3)), ) if hasattr(layer, 'fc1') else ()
    a = layer.coefficients(*mean)  # (1, K, J, C)
    rolled = torch.stack([channel_roll(x, layer.groups, j, layer.shift) for j in range(layer.J)], 1)
    values = torch.einsum('nkjc,njchw->nkchw', a, rolled)
    winner = values.argmax(1)[0]  # (C, H, W)
    shares = torch.bincount(winner.flatten(), minlength=layer.K) / winner.numel()
    moved = (a - layer.start).abs() > 0.1
    return Fusions(name, shares, (winner > 0).float().mean(0), float(moved.float().mean()))


def draw_fusions(found: Sequence[Fusions], picture: Tensor) -> Figure:
    """The picture (H, W, 3), values 0 to 1 in RGB, and of each layer the part of channels that take another fusion than
    the first: dark where all take the first, bright where none does."""
    panels = len(found) + 1
    rows = (panels + COLUMNS - 1) // COLUMNS
    figure = Figure(figsize=(2.4 * COLUMNS, 2.5 * rows), facecolor='white', layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    grid[0].imshow(picture)
    grid[0].set_title('image', fontsize=8)
    for axes, layer in zip(grid[1:], found):
        image = axes.imshow(layer.second, vmin=0, vmax=1, cmap='viridis')
        axes.set_title(f'{layer.name}\n{1 - float(layer.shares[0]):.0%} not the first', fontsize=7)
    figure.colorbar(image, ax=list(grid), shrink=0.6, label='channels that take another fusion than the first')
    return figure
