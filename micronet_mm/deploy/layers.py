"""What a network in deploy form is made of."""
from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from micronet_mm.layers import DynamicShiftMax, ShiftMax, StaticShiftMax


class Permutation(nn.Module):
    """Channel ``index[i]`` of the input becomes channel i.

    Shapes: (N, C, H, W) to (N, C, H, W).
    """

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer('index', index.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.index)


class Filters(nn.ModuleList):
    """Convolutions of one input, the channels of their outputs one behind the other.

    Shapes: (N, C, H, W) to (N, C1 + C2 + ..., H', W').
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x) for conv in self], 1)


class DeployStem(nn.Module):
    """The two convolutions of a stem as one of 3 x 3.

    Between them stands a summand, that of BN, but not in the zeros around what the second one reads. So it comes with
    a channel of ones, which is zero outside the image.

    Args:
        vertical: (weight, bias) of the first convolution, (s1, C, 3, 1).
        horizontal: of the second one, (s1 * s2, 1, 1, 3) of s1 groups.

    Shapes: (N, C, H, W) to (N, s1 * s2, ceil(H / 2), ceil(W / 2)).
    """

    def __init__(self, vertical: tuple[Tensor, Tensor], horizontal: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        middle = torch.zeros_like(vertical[0][:, :1])
        middle[:, 0, 1, 0] = vertical[1]
        first = torch.cat([vertical[0], middle], 1)
        first = first.repeat_interleave(len(horizontal[0]) // len(first), 0)
        self.conv = nn.Conv2d(first.shape[1], len(first), 3, 2, 1, device='meta')
        self.conv.weight, self.conv.bias = nn.Parameter(first * horizontal[0]), nn.Parameter(horizontal[1])
        self.rows, self.pixels = len(vertical[0]), None  # s1

    @torch.no_grad()
    def take_pixels(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take images that are not normalized yet: x stands for (x - mean) / std, and zeros around for the mean."""
        self.pixels = tuple(mean), tuple(std)
        weight = self.conv.weight
        weight[:, :-1] /= weight.new_tensor(std)[:, None, None]
        weight[:, -1] -= (weight[:, :-1] * weight.new_tensor(mean)[:, None, None]).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0))


class DeployBlock(nn.Sequential):
    """Layers in a row, and their input added to what they give if asked for."""

    def __init__(self, layers: Sequence[nn.Module], shortcut: bool = False) -> None:
        super().__init__(*layers)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + x if self.shortcut else y


class DeployShiftMax(nn.Module):
    """Shift-Max of channels that lie in some order, its squeeze two matrix products.

    Args:
        layer: what it is made of.
        order: (C), logical channel i lies at place ``order[i]``.
    """

    def __init__(self, layer: ShiftMax, order: Tensor) -> None:
        super().__init__()
        self.channels, self.J, self.K = layer.channels, layer.J, layer.K
        # Of place p: the place of its partner, by shift; the first is itself.
        places = torch.empty_like(layer.partner, device='cpu')
        places[:, order] = order[layer.partner.cpu()]
        for j in range(1, self.J):
            self.register_buffer(f'partner{j}', places[j])
        start = layer.start.expand(self.K, self.J, self.channels).reshape(1, -1)
        self.register_buffer('start', start.clone())
        back = torch.argsort(order)
        rows = (torch.arange(self.K * self.J)[:, None] * self.channels + back).flatten()
        if isinstance(layer, DynamicShiftMax):
            self.squeeze = Affine(layer.fc1.weight[:, back], layer.fc1.bias)
            # 4 (hard_sigmoid(z) - 0.5) is two thirds of z between -2 and 2.
            self.excite = Affine(layer.fc2.weight[rows] * (2 / 3), layer.fc2.bias[rows] * (2 / 3))
        elif isinstance(layer, StaticShiftMax):
            self.squeeze = None
            self.register_buffer('z', layer.z[rows].view(1, -1) * (2 / 3))
        self.attention = deepcopy(layer.attention)
        if self.attention is not None:
            self.attention.conv.weight.copy_(layer.attention.conv.weight[:, back])

    def coefficients(self, x: Tensor) -> Tensor:
        """(N, K * J * C, 1, 1)."""
        z = self.z if self.squeeze is None else self.excite(F.relu(self.squeeze(x.mean((2, 3)))))
        return (z.clamp(-2, 2) + self.start).view(-1, self.K * self.J * self.channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.coefficients(x).split(self.channels, 1)
        shifted = [x, *(x.index_select(1, getattr(self, f'partner{j}')) for j in range(1, self.J))]
        y = None
        for k in range(self.K):
            fusion = parts[k * self.J] * x
            for j in range(1, self.J):
                fusion = fusion + parts[k * self.J + j] * shifted[j]
            y = fusion if y is None else torch.maximum(y, fusion)
        return y if self.attention is None else y * self.attention(x)


class Affine(nn.Module):
    """A linear layer whose weight lies as ONNX Runtime multiplies a single row fastest, (in, out).

    Shapes: (N, in) to (N, out).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.t().clone()), nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)
