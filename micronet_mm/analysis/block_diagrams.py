"""The Micro-Blocks as the paper's figure 4 draws them, read off the modules of a network."""
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from micronet_mm.layers import (
    Activation,
    Chain,
    ChannelShuffle,
    ConvNorm,
    DynamicShiftMax,
    MicroFactorizedDepthwiseConv,
)
from micronet_mm.models import MicroNet


@dataclass(frozen=True)
class Box:
    """A layer of a block.

    Attributes:
        name: of the layer in its block.
        title: what it is.
        details: kernel, channels, groups; one line for each thing that it does.
        groups: of all that it does, in order.
        shape: (C, H, W) of what it gives.
    """
    name: str
    title: str
    details: tuple[str, ...]
    groups: tuple[int, ...]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Diagram:
    """A block: what goes in, (C, H, W), its layers in order, and whether the input is added at the end."""
    title: str
    shape: tuple[int, int, int]
    boxes: tuple[Box, ...]
    shortcut: bool


def describe(layer: nn.Module) -> tuple[str, list[str], list[int]]:
    """Title, details and groups of a layer; no title for one that does nothing.

    Raises:
        TypeError: for a layer that no Micro-Block has.
    """
    if isinstance(layer, ConvNorm):
        conv = layer.conv
        kernel, stride = ' x '.join(map(str, conv.kernel_size)), max(conv.stride)
        detail = f'{kernel}: {conv.in_channels} → {conv.out_channels}, {conv.groups} groups'
        return 'Group convolution', [detail if stride == 1 else f'{detail}, stride {stride}'], [conv.groups]
    if isinstance(layer, DynamicShiftMax):
        return 'Dynamic Shift-Max', [f'J = {layer.J}, K = {layer.K}, {layer.groups} groups'], [layer.groups]
    if isinstance(layer, ChannelShuffle) and layer.groups:
        return 'Channel shuffle', [f'{", then ".join(map(str, layer.groups))} groups'], list(layer.groups)
    if isinstance(layer, Activation):
        return {'relu': 'ReLU', 'relu6': 'ReLU6'}[layer.kind], [], []
    if isinstance(layer, Chain) and len(layer):
        titles, details, groups = zip(*map(describe, layer))
        title = 'Micro-factorized depthwise' if isinstance(layer, MicroFactorizedDepthwiseConv) else ' + '.join(titles)
        return title, list(chain.from_iterable(details)), list(chain.from_iterable(groups))
    if isinstance(layer, (ChannelShuffle, Chain)):
        return '', [], []
    raise TypeError(f'{type(layer).__name__} is no layer of a Micro-Block.')


def diagram(block: Chain, x: torch.Tensor) -> tuple[Diagram, torch.Tensor]:
    """A block fed with ``x``, (1, C, H, W), and what it gives, (1, C', H', W').

    Example:
        >>> from micronet_mm.models import MicroBlockA
        >>> [box.name for box in diagram(MicroBlockA(8, 12).eval(), torch.zeros(1, 8, 4, 4))[0].boxes]
        ['depthwise', 'act2', 'shuffle2', 'compress', 'act3', 'shuffle3']
    """
    boxes, y = [], x
    for name, layer in block.named_children():
        y = layer(y)
        title, details, groups = describe(layer)
        if title:
            boxes.append(Box(name, title, tuple(details), tuple(groups), tuple(y.shape[1:])))
    title = type(block).__name__.replace('MicroBlock', 'Micro-Block-')
    return Diagram(title, tuple(x.shape[1:]), tuple(boxes), block.shortcut), y + x if block.shortcut else y


@torch.no_grad()
def block_diagrams(arch: str = 'm2', size: int = 224) -> list[Diagram]:
    """Figure 4: the last Micro-Block-A of a network, its B and its first C, which follow each other.

    Args:
        arch: name of the network; M2's have Dynamic Shift-Max in every place and a C with a skip connection.
        size: height and width of the image.
    """
    network = MicroNet(arch).eval()
    x = network.stem(torch.zeros(1, 3, size, size))
    diagrams: dict[str, Diagram] = {}
    for block in chain.from_iterable(network.stages):
        drawn, x = diagram(block, x)
        diagrams[drawn.title] = drawn
        if drawn.title.endswith('C'):
            break
    return list(diagrams.values())
