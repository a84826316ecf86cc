"""Shift-Max, the activation of the paper (section 4): dynamic, or with learned coefficients (Table 2)."""
from typing import Any, Optional, Sequence

import torch
import torch.fx
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from micronet_mm.ops import SHIFTS, Deferred, defer, gathered_shift_max, partners, settle, shift_max
from micronet_mm.validation import BOOL, COUNT, NUMBER, checked, one_of, optional, sequence_of

from .chain import hand_on
from .groups import num_groups
from .scriptable import ScriptableModule
from .spatial_attention import SpatialAttention

torch.fx.wrap('shift_max')  # one node in a symbolic trace, because it depends on sizes and memory layout


def leave_meta_device(module: 'ShiftMax', _: Any) -> None:
    """Move meta buffers to the device of the parameters after ``load_state_dict(..., assign=True)``."""
    device = next(module.parameters()).device
    if module.start.is_meta and device.type != 'meta':
        module.start = torch.empty_like(module.start, device=device)
        module.partner = torch.empty_like(module.partner, device=device)
        module.fill_constants()


@checked(value=NUMBER, divisor=COUNT)
def make_divisible(value: float, divisor: int) -> int:
    """Round to the nearest multiple of ``divisor`` as in MobileNet, but never more than 10 % below ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


class ShiftMax(ScriptableModule):
    r"""Base class of :class:`DynamicShiftMax` and :class:`StaticShiftMax`, which differ only in the source of z.

    .. math::
        y_i = \max_{1 \le k \le K} \sum_{j=0}^{J-1} a^k_{i,j} \, x_{\mathrm{roll}^j(i)}, \quad
        a = a_0 + 4 (\mathrm{hard\_sigmoid}(z) - 0.5)

    Args:
        channels: C, the number of channels.
        groups: G of the shifts, a divisor of C. Defaults to Eq. 3 with R = 1: about sqrt(C).
        J: number of shifts per fusion, including the unshifted input.
        K: number of fusions.
        shift: ``'grouped'`` (as released) or ``'paper'`` (Eq. 4), see :func:`micronet_mm.ops.channel_roll`.
        init: initial values a_0, ``init[j][k]``, so ``(init_a, init_b)`` for J = 2. Missing fusions repeat the last
            value of the row, and missing shifts start at 0. So one setting works for any J and K. The default starts
            as the identity.
        spatial: scale the coefficients of each position by :class:`SpatialAttention`.
        init_cfg: as in MMEngine's BaseModule.

    Raises:
        ValueError: if ``groups`` does not divide ``channels``, J or K is below 1, or the shift rule is unknown.
    """

    @checked(channels=COUNT, groups=optional(COUNT, 'Eq. 3'), J=COUNT, K=COUNT, shift=one_of(*SHIFTS),
             init=sequence_of(sequence_of(NUMBER)), spatial=BOOL)
    def __init__(self,
                 channels: int,
                 groups: Optional[int] = None,
                 J: int = 2,
                 K: int = 2,
                 shift: str = 'grouped',
                 init: Sequence[Sequence[float]] = ((1.0,),),
                 spatial: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        groups = groups or num_groups(channels, channels)
        if channels % groups:
            raise ValueError(f'{groups} groups do not divide the {channels} channels of {type(self).__name__}; '
                             'use a divisor, or None for Eq. 3.')
        self.channels = channels
        self.groups = groups
        self.J = J
        self.K = K
        self.shift = shift
        self.attention = SpatialAttention(channels) if spatial else None
        rows = [[float(value) for value in (*values, *[values[-1]] * K)][:K] for values in init[:J]]
        self.init = [*rows, *[[0.0] * K] * (J - len(rows))]
        self.register_buffer('start', torch.empty(K, J, 1), persistent=False)
        self.register_buffer('partner', torch.empty(J, channels, dtype=torch.long), persistent=False)
        self.fill_constants()
        self.register_load_state_dict_post_hook(leave_meta_device)

    def fill_constants(self) -> None:
        """Set the buffers; checkpoints do not contain them."""
        if not self.start.is_meta:
            with torch.inference_mode():  # inference mode can write to any buffer
                self.start.copy_(torch.tensor(self.init, device='cpu').t()[..., None])
                self.partner.copy_(partners(self.channels, self.groups, self.J, self.shift))

    def _apply(self, *args: Any, **kwargs: Any) -> 'ShiftMax':
        """Move to another device or type, then set the buffers again, because ``to_empty`` leaves them unset."""
        super()._apply(*args, **kwargs)
        self.fill_constants()
        return self

    def around_start(self, z: Tensor) -> Tensor:
        """Return the coefficients (N, K, J, C) from z (N, K * J * C)."""
        # 4 (hard_sigmoid(z) - 0.5), in a form that can be differentiated twice
        z = F.hardtanh(z, -3.0, 3.0).view(-1, self.K, self.J, self.channels)
        # FX quantization replaces add with a version that ignores alpha
        return torch.sub(self.start, z, alpha=-2 / 3)

    def fused(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Apply Shift-Max to ``x`` with these coefficients."""
        # Under autocast the coefficients may be wider than x; y has the type of x.
        coefficients = coefficients.to(x.dtype)
        if torch.jit.is_scripting():
            y = gathered_shift_max(x, coefficients, self.partner)
        else:
            y = shift_max(x, coefficients, self.groups, self.shift)
        # A positive factor that is common to all fusions can be applied after the maximum.
        return y if self.attention is None else y * self.attention(x).to(x.dtype)

    def fused_deferred(self, x: Deferred, coefficients: Tensor) -> Deferred:
        """Apply Shift-Max to a deferred input."""
        y = shift_max(x, coefficients, self.groups, self.shift)
        return defer(y if self.attention is None else y * settle(hand_on(x, self.attention)))

    def extra_repr(self) -> str:
        return f'channels={self.channels}, groups={self.groups}, J={self.J}, K={self.K}, shift={self.shift!r}'


@MODELS.register_module()
class DynamicShiftMax(ShiftMax):
    r"""Return the largest of K fusions of J circular channel shifts, with coefficients computed from the input.

    .. math:: y_i = \max_{1 \le k \le K} \sum_{j=0}^{J-1} a^k_{i,j}(x) \, x_{\mathrm{roll}^j(i)}

    The coefficients come from squeeze-and-excitation: global average pool, Linear(C, q), ReLU, Linear(q, K * J * C).
    (hard_sigmoid - 0.5) * 4 maps the result into [-2, 2], and the initial values are added. J = 1 is Dynamic ReLU;
    J = K = 1 is squeeze-and-excitation.

    Args:
        channels, groups, J, K, shift, init, spatial, init_cfg: see :class:`ShiftMax`.
        reduction: r; the squeeze width q is C / r, rounded to a multiple of 4, at least 4.

    Shapes: (N, C, H, W) to (N, C, H, W).

    Raises:
        ValueError: if ``groups`` does not divide ``channels``, J, K or the reduction is below 1, or the shift rule is
            unknown.

    Example:
        >>> DynamicShiftMax(16, groups=4, reduction=8)(torch.rand(2, 16, 7, 7)).shape
        torch.Size([2, 16, 7, 7])
    """

    @checked(reduction=COUNT)
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
        super().__init__(channels, groups, J, K, shift, init, spatial, init_cfg)
        squeeze = max(4, make_divisible(channels // reduction, 4))
        self.fc1 = nn.Linear(channels, squeeze)
        self.fc2 = nn.Linear(squeeze, K * J * channels)
        # With small weights, training starts near the initial coefficients.
        for fc in (self.fc1, self.fc2):
            nn.init.normal_(fc.weight, std=0.01)
            nn.init.zeros_(fc.bias)

    def coefficients(self, mean: Tensor) -> Tensor:
        """Return the coefficients (N, K, J, C) for an input with this ``mean`` (N, C) over its positions."""
        return self.around_start(self.fc2(F.relu(self.fc1(mean))))

    def forward(self, x: Tensor) -> Tensor:
        return self.fused(x, self.coefficients(x.mean((2, 3))))

    def deferred(self, x: Deferred) -> Deferred:
        """Apply the layer to a deferred input. The pending scale and shift also apply to its mean."""
        if x.mean is None or not x.is_affine:
            return defer(self.forward(settle(x)))
        mean = x.mean if x.scale is None else x.mean * x.scale + x.shift
        return self.fused_deferred(x, self.coefficients(mean))


@MODELS.register_module()
class StaticShiftMax(ShiftMax):
    r"""Shift-Max with learned coefficients that do not depend on the input, the "static counterpart" of Table 2.

    It is a :class:`DynamicShiftMax` whose last layer has only a bias, z, and no weights. The coefficients have the same
    range and start at the same values. Weight decay pulls them back to these values.

    Args:
        channels, groups, J, K, shift, init, spatial, init_cfg: see :class:`ShiftMax`.

    Shapes: (N, C, H, W) to (N, C, H, W).

    Raises:
        ValueError: if ``groups`` does not divide ``channels``, J or K is below 1, or the shift rule is unknown.

    Example:
        >>> StaticShiftMax(16, groups=4)(torch.rand(2, 16, 7, 7)).shape
        torch.Size([2, 16, 7, 7])
    """

    def __init__(self,
                 channels: int,
                 groups: Optional[int] = None,
                 J: int = 2,
                 K: int = 2,
                 shift: str = 'grouped',
                 init: Sequence[Sequence[float]] = ((1.0,),),
                 spatial: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(channels, groups, J, K, shift, init, spatial, init_cfg)
        # Fusions with equal initial values would always get equal gradients.
        self.z = nn.Parameter(torch.randn(K * J * channels) * 0.01)

    def coefficients(self) -> Tensor:
        """Return the coefficients (1, K, J, C)."""
        return self.around_start(self.z)

    def forward(self, x: Tensor) -> Tensor:
        return self.fused(x, self.coefficients())

    def deferred(self, x: Deferred) -> Deferred:
        return self.fused_deferred(x, self.coefficients())
