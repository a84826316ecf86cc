"""Which convolutions a plan has steps for, and how their weights lie there."""
from itertools import pairwise
from typing import Optional

import numpy as np
from torch import Tensor, nn

from ..layers import Affine, Filters
from .recording import Call
from .writing import PART


def is_pointwise(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.stride) == ((1, 1), (1, 1)) and conv.padding in ((0, 0), 'valid')


def is_line(conv: nn.Conv2d) -> bool:
    """A depthwise convolution along one axis, centred, of a size that there is code for."""
    axis = int(conv.kernel_size[0] == 1)
    settings = list(zip(conv.kernel_size, conv.stride, conv.padding))
    k, stride, padding = settings[axis]
    return (1 < conv.groups == conv.in_channels == conv.out_channels and settings[1 - axis] == (1, 1, 0)
            and k in (3, 5, 7) and stride in (1, 2) and padding == k // 2 and conv.dilation == (1, 1)
            and conv.padding_mode == 'zeros')


def has_step(conv: nn.Conv2d) -> bool:
    """Whether the general step is for it."""
    return (all(1 <= k <= 7 for k in conv.kernel_size) and all(stride in (1, 2) for stride in conv.stride)
            and conv.dilation == (1, 1) and conv.padding_mode == 'zeros')


def axes(conv: nn.Conv2d) -> list[int]:
    """Size of the kernel, stride, and zeros before the first value: along rows, then along columns."""
    before = {'same': [(k - 1) // 2 for k in conv.kernel_size], 'valid': [0, 0]}.get(conv.padding, conv.padding)
    return [number for axis in zip(conv.kernel_size, conv.stride, before) for number in axis]


def part_weights(conv: nn.Conv2d) -> np.ndarray:
    """As the general step reads them: (inputs, rows, columns, outputs) of each part of the outputs of each group."""
    weight = numpy(conv.weight).reshape(conv.groups, -1, *conv.weight.shape[1:])
    outputs = weight.shape[1]
    parts = -(-outputs // PART)
    bounds = [part * outputs // parts for part in range(parts + 1)]
    return np.concatenate([np.moveaxis(group[begin:end], 0, -1).reshape(-1) for group in weight
                           for begin, end in pairwise(bounds)])


def lines_of(call: Call) -> Optional[list[nn.Conv2d]]:
    """The convolutions of a call that are all along one axis."""
    convs = list(call.layer) if isinstance(call.layer, Filters) else [call.layer]
    return convs if all(isinstance(conv, nn.Conv2d) and is_line(conv) for conv in convs) else None


def group_weights(conv: nn.Conv2d) -> np.ndarray:
    """Of a pointwise convolution, (groups, inputs of each, outputs of each)."""
    return numpy(conv.weight).reshape(conv.groups, -1, conv.in_channels // conv.groups).transpose(0, 2, 1)


def line_weights(convs: list[nn.Conv2d]) -> tuple[np.ndarray, np.ndarray]:
    """Of convolutions along an axis, one behind the other: (k, channels) and their biases."""
    k = max(convs[0].kernel_size)
    return (np.concatenate([numpy(conv.weight).reshape(-1, k) for conv in convs]).T,
            np.concatenate([bias_of(conv) for conv in convs]))


def bias_of(layer: nn.Module) -> np.ndarray:
    outputs = layer.weight.shape[isinstance(layer, Affine)]
    return np.zeros(outputs) if layer.bias is None else numpy(layer.bias)


def numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
