"""Dynamic Shift-Max, the activation of the paper (section 4)."""
from typing import Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from micronet_mm.ops import SHIFTS, Deferred, conv_with_moments, gathered_shift_max, partners, settle, shift_max

from .groups import num_groups
from .scriptable import ScriptableModule


def make_divisible(value: float, divisor: int) -> int:
    """MobileNet's rounding: the nearest multiple of ``divisor``, but never more than 10 % below ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


class SpatialAttention(ScriptableModule):
    r"""Where to act: the attention of Dynamic ReLU's spatial variant (DY-ReLU-C), which the keypoint models use.

    .. math:: \pi_i = \min(\gamma \, \mathrm{softmax}_i(\mathrm{conv}(x) / \tau), 1), \quad \gamma = H W / 3

    Args:
        channels: C.
        temperature: tau.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, C, H, W) to (N, 1, H, W).
    """

    def __init__(self, channels: int, temperature: float = 10.0, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        self.temperature = temperature
        self.conv = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(self.conv.weight, std=0.01)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.conv(x) if torch.jit.is_scripting() else self.logits(x)
        positions = logits.shape[2] * logits.shape[3]
        return (logits / self.temperature).flatten(2).softmax(2).mul(positions / 3).clamp(max=1).view_as(logits)

    def logits(self, x: Union[Tensor, Deferred]) -> Tensor:
        if not isinstance(x, Deferred):
            return self.conv(x)
        return conv_with_moments(x, self.conv.weight)[0] + self.conv.bias


@MODELS.register_module()
class DynamicShiftMax(ScriptableModule):
    r"""The largest of K fusions of J circular channel shifts, with coefficients computed from the input.

    .. math:: y_i = \max_{1 \le k \le K} \sum_{j=0}^{J-1} a^k_{i,j}(x) \, x_{\mathrm{roll}^j(i)}

    The coefficients come from squeeze-and-excitation: global average pool, Linear(C, q), ReLU, Linear(q, K * J * C),
    mapped by (hard_sigmoid - 0.5) * 4 into [-2, 2] and added to their initial values. J = 1 is Dynamic ReLU; J = K = 1
    is squeeze-and-excitation.

    Args:
        channels: C.
        groups: G of the shifts, a divisor of C. Defaults to Eq. 3 with R = 1: about sqrt(C).
        J: number of shifts fused, the unshifted input included.
        K: number of fusions to choose from.
        reduction: r; the squeeze width q is C / r as a multiple of 4, at least 4.
        shift: ``'grouped'`` (as released) or ``'paper'`` (Eq. 4), see :func:`micronet_mm.ops.channel_roll`.
        init: initial values, ``init[j][k]``, so ``(init_a, init_b)`` for J = 2. Missing fusions repeat the row's last
            value and missing shifts start at 0, so one setting serves any J and K. The default starts as the identity.
        spatial: scale the coefficients of each position by :class:`SpatialAttention`.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, C, H, W) to (N, C, H, W).

    Raises:
        ValueError: if ``groups`` does not divide ``channels``, J or K is below 1, or the shift rule is unknown.

    Example:
        >>> DynamicShiftMax(16, groups=4, reduction=8)(torch.rand(2, 16, 7, 7)).shape
        torch.Size([2, 16, 7, 7])
    """

    def __init__(self,
                 channels: int,
                 groups: Optional[int] = None,
                 J: int = 2,
                 K: int = 2,
                 reduction: int = 8,
                 shift: str = 'grouped',
                 init: Sequence[Sequence[float]] = ((1.0,),),
                 spatial: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        groups = groups or num_groups(channels, channels)
        if channels % groups:
            raise ValueError(f'{groups} groups do not divide the {channels} channels of DynamicShiftMax.')
        if J < 1 or K < 1 or reduction < 1:
            raise ValueError(f'DynamicShiftMax needs J, K and reduction of at least 1, got {J=}, {K=}, {reduction=}.')
        if shift not in SHIFTS:
            raise ValueError(f'shift={shift!r} is not a known shift rule; use one of {SHIFTS}.')
        self.channels = channels
        self.groups = groups
        self.J = J
        self.K = K
        self.shift = shift
        squeeze = max(4, make_divisible(channels // reduction, 4))
        self.fc1 = nn.Linear(channels, squeeze)
        self.fc2 = nn.Linear(squeeze, K * J * channels)
        # Small weights: training starts from the initial coefficients.
        for fc in (self.fc1, self.fc2):
            nn.init.normal_(fc.weight, std=0.01)
            nn.init.zeros_(fc.bias)
        start = torch.zeros(J, K)
        for row, values in zip(start, init):
            values = [*values, *[values[-1]] * K][:K]
            row.copy_(torch.tensor(values))
        self.attention = SpatialAttention(channels) if spatial else None
        self.register_buffer('start', start.t()[..., None].contiguous(), persistent=False)
        self.register_buffer('partner', partners(channels, groups, J, shift)[0], persistent=False)

    def coefficients(self, mean: Tensor) -> Tensor:
        """The coefficients, (N, K, J, C), for an input of this ``mean`` over its positions, (N, C)."""
        z = self.fc2(F.relu(self.fc1(mean)))
        return (F.hardsigmoid(z) - 0.5).mul(4).view(-1, self.K, self.J, self.channels) + self.start

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Deferred):
            return self.deferred(x)
        # Under autocast the coefficients come out wider than x; y has the type of x.
        coefficients = self.coefficients(x.mean((2, 3))).to(x.dtype)
        if torch.jit.is_scripting():
            y = gathered_shift_max(x, coefficients, self.partner)
        else:
            y = shift_max(x, coefficients, self.groups, self.shift)
        # A factor that is positive and common to all fusions passes through the maximum.
        return y if self.attention is None else y * self.attention(x).to(x.dtype)

    def deferred(self, x: Deferred) -> Deferred:
        """The same of a deferred input: the mean of what was normalized is the normalized mean."""
        if x.mean is None or not x.is_affine:
            return Deferred(self.forward(settle(x)))
        mean = x.mean if x.scale is None else x.mean * x.scale + x.shift
        y = shift_max(x, self.coefficients(mean), self.groups, self.shift)
        return Deferred(y if self.attention is None else y * self.attention(x))

    def extra_repr(self) -> str:
        return f'channels={self.channels}, groups={self.groups}, J={self.J}, K={self.K}, shift={self.shift!r}'
