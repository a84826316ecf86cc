"""The Micro-Blocks of figure 4, the stem before them and the expansion after them."""
from typing import Any, Optional, Sequence

from mmengine.registry import MODELS
from torch import nn

from micronet_mm.layers import (
    Activation,
    Chain,
    ChannelShuffle,
    ConvNorm,
    DynamicShiftMax,
    MicroFactorizedDepthwiseConv,
    ShiftMax,
    StaticShiftMax,
    group_pointwise,
    num_groups,
)
from micronet_mm.validation import BOOL, COUNT, NORM, ODD, SETTINGS, checked, optional, sequence_of, shown

from .arch import GROUPS

BN = dict(type='BN')
EXPANSION = dict(in_channels=COUNT, out_channels=COUNT, groups1=GROUPS, dynamic=sequence_of(BOOL, 3), reduction=COUNT,
                 shift_max=optional(SETTINGS), norm_cfg=NORM)
# An odd kernel keeps the output centred.
MICRO_BLOCK = dict(EXPANSION, kernel_size=ODD, stride=COUNT, expansion=sequence_of(COUNT, 2), groups2=GROUPS)


def shift_max_layer(channels: int, groups: int, reduction: int, coefficients: str = 'dynamic',
                    **settings: Any) -> ShiftMax:
    """Build Shift-Max with 'dynamic' or 'static' coefficients; ``reduction`` only applies to dynamic ones."""
    if coefficients == 'static':
        return StaticShiftMax(channels, groups, **settings)
    if coefficients == 'dynamic':
        return DynamicShiftMax(channels, groups, reduction=reduction, **settings)
    raise ValueError(f"coefficients={shown(coefficients)} of Shift-Max must be 'dynamic' or 'static'.")


def activation(dynamic: bool, channels: int, groups: int, reduction: int, shift_max: dict) -> nn.Module:
    """Build A1 or A2: Dynamic Shift-Max if ``dynamic``, otherwise ReLU6.

    With K = 1 there is no maximum, so a ReLU provides the non-linearity (note to Table 6).
    """
    if not dynamic:
        return Activation('relu6')
    act = shift_max_layer(channels, groups, reduction, **shift_max)
    return Chain({'0': act, '1': Activation('relu')}) if act.K == 1 else act


def output_activation(dynamic: bool, channels: int, groups: int, reduction: int, shift_max: dict) -> nn.Module:
    """Build A3, the output activation: Dynamic Shift-Max with K = 1 that starts as the identity, or nothing."""
    if not dynamic:
        return Chain({})
    fixed = dict(K=1, init=((1.0,),))
    return shift_max_layer(channels, groups, reduction, **{**shift_max, **fixed})


def block_shuffle(channels: int, groups: Sequence[int], second: Sequence[int] = ()) -> ChannelShuffle:
    """Shuffle by ``groups``, then by the entries of ``second`` that divide the channels, as the released models do."""
    for g in groups:
        if channels % g:
            raise ValueError(f'{g} groups do not divide the {channels} channels that a Micro-Block shuffles; '
                             'give a divisor, or None for the rule of Eq. 3.')
    return ChannelShuffle((*groups, *(g for g in second if g and channels % g == 0)))


def resolve_groups(given: Optional[Sequence[Optional[int]]], default: int) -> tuple[int, int]:
    """Return the groups of a pointwise convolution and of the activation after it; None becomes ``default``."""
    first, second = given or (None, None)
    return first or default, second or default


@MODELS.register_module()
class MicroStem(Chain):
    """Stem: a 3 x 1 and a 1 x 3 convolution, each with stride 2 along its axis (section 5.1).

    Args:
        in_channels: channels of the image.
        widths: (s1, s2); the second convolution has s1 groups of s2 filters.
        norm_cfg: normalization layer.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, in_channels, H, W) to (N, s1 * s2, ceil(H / 2), ceil(W / 2)).
    """

    @checked(in_channels=COUNT, widths=sequence_of(COUNT, 2), norm_cfg=NORM)
    def __init__(self,
                 in_channels: int,
                 widths: Sequence[int],
                 norm_cfg: dict = BN,
                 init_cfg: Optional[dict] = None) -> None:
        s1, s2 = widths
        super().__init__(dict(
            vertical=ConvNorm(in_channels, s1, (3, 1), (2, 1), (1, 0), norm_cfg=norm_cfg),
            horizontal=ConvNorm(s1, s1 * s2, (1, 3), (1, 2), (0, 1), s1, dict(type='LineConv'), norm_cfg),
            act=Activation('relu6'),
            shuffle=ChannelShuffle(s1)), init_cfg=init_cfg)


@MODELS.register_module()
class MicroBlockA(Chain):
    """Micro-Block-A, the lite combination for the lower layers (figure 4a).

    A micro-factorized depthwise convolution widens the input, and one group convolution compresses it. There is no
    pointwise expansion. The input is added if stride and width allow it.

    Args:
        in_channels: Cin.
        out_channels: C.
        kernel_size: k of the depthwise convolution.
        stride: stride of the depthwise convolution.
        expansion: (e1, e2); the hidden width is Cin * e1 * e2.
        groups1: (-, g2), g2 the groups of A2; the first entry is unused. Defaults to one group per input channel.
        groups2: (g3, g4), groups of the compressing convolution and of A3. Defaults to Eq. 3.
        dynamic: which of (A1, A2, A3) are Dynamic Shift-Max. A block of this kind has no A1.
        reduction: R of A2; A3 has R / 2.
        shift_max: further arguments of the Dynamic Shift-Max layers (J, K, shift, init, coefficients).
        norm_cfg: normalization layer.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, Cin, H, W) to (N, C, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> MicroBlockA(8, 12, stride=2)(torch.rand(1, 8, 32, 32)).shape
        torch.Size([1, 12, 16, 16])
    """

    @checked(**MICRO_BLOCK)
    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int = 3,
                 stride: int = 1,
                 expansion: Sequence[int] = (2, 2),
                 groups1: Optional[Sequence[Optional[int]]] = None,
                 groups2: Optional[Sequence[int]] = None,
                 dynamic: Sequence[bool] = (False, True, True),
                 reduction: int = 8,
                 shift_max: Optional[dict] = None,
                 norm_cfg: dict = BN,
                 init_cfg: Optional[dict] = None) -> None:
        hidden = in_channels * expansion[0] * expansion[1]
        _, g2 = resolve_groups(groups1, in_channels)
        g3, g4 = resolve_groups(groups2, num_groups(hidden, out_channels))
        _, a2, a3 = dynamic
        shift_max = shift_max or {}
        super().__init__(dict(
            depthwise=MicroFactorizedDepthwiseConv(in_channels, expansion, kernel_size, stride, norm_cfg),
            act2=activation(a2, hidden, g2, reduction, shift_max),
            shuffle2=block_shuffle(hidden, [g2], [hidden // 2] if a2 else []),
            compress=group_pointwise(hidden, out_channels, g3, norm_cfg),
            act3=output_activation(a3, out_channels, g4, max(1, reduction // 2), shift_max),
            shuffle3=block_shuffle(out_channels, [g4], [out_channels // 2] if a3 else [])),
            shortcut=stride == 1 and in_channels == out_channels, init_cfg=init_cfg)


@MODELS.register_module()
class MicroBlockB(Chain):
    """Micro-Block-B, the first block with a full micro-factorized pointwise convolution (figure 4b).

    One group convolution expands, a micro-factorized depthwise convolution filters, and a second group convolution
    compresses. The input is added if stride and width allow it.

    Args:
        in_channels: Cin.
        out_channels: C.
        kernel_size: k of the depthwise convolution.
        stride: stride of the depthwise convolution.
        expansion: (e1, e2); the hidden width is Cin * e1 * e2.
        groups1: (g1, g2), groups of the expanding convolution and of A1. Defaults to Eq. 3.
        groups2: (g3, g4), groups of the compressing convolution and of A3. Defaults to Eq. 3.
        dynamic: which of (A1, A2, A3) are Dynamic Shift-Max.
        reduction: R of A1 and A2; A3 has R / 2, or R if C is at least the hidden width.
        shift_max: further arguments of the Dynamic Shift-Max layers (J, K, shift, init, coefficients).
        norm_cfg: normalization layer.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, Cin, H, W) to (N, C, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> MicroBlockB(16, 32, kernel_size=5)(torch.rand(1, 16, 14, 14)).shape
        torch.Size([1, 32, 14, 14])
    """

    @checked(**MICRO_BLOCK)
    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int = 3,
                 stride: int = 1,
                 expansion: Sequence[int] = (1, 6),
                 groups1: Optional[Sequence[int]] = None,
                 groups2: Optional[Sequence[int]] = None,
                 dynamic: Sequence[bool] = (True, True, True),
                 reduction: int = 8,
                 shift_max: Optional[dict] = None,
                 norm_cfg: dict = BN,
                 init_cfg: Optional[dict] = None) -> None:
        hidden = in_channels * expansion[0] * expansion[1]
        g1, g2 = resolve_groups(groups1, num_groups(in_channels, hidden))
        g3, g4 = resolve_groups(groups2, num_groups(hidden, out_channels))
        a1, a2, a3 = dynamic
        shift_max = shift_max or {}
        mix = {0: [], 1: [hidden // 2], 2: [hidden // 4]}[bool(a1) + bool(a2)]
        output_reduction = max(1, reduction // 2) if out_channels < hidden else reduction
        super().__init__(dict(
            expand=group_pointwise(in_channels, hidden, g1, norm_cfg),
            act1=activation(a1, hidden, g2, reduction, shift_max),
            shuffle1=block_shuffle(hidden, [g2]),
            depthwise=MicroFactorizedDepthwiseConv(hidden, (1, 1), kernel_size, stride, norm_cfg),
            act2=activation(a2, hidden, hidden // g2, reduction, shift_max),
            shuffle2=block_shuffle(hidden, [], mix),
            compress=group_pointwise(hidden, out_channels, g3, norm_cfg),
            act3=output_activation(a3, out_channels, g4, output_reduction, shift_max),
            shuffle3=block_shuffle(out_channels, [g4], [out_channels // 2] if a3 else [])),
            shortcut=stride == 1 and in_channels == out_channels, init_cfg=init_cfg)


@MODELS.register_module()
class MicroBlockC(MicroBlockB):
    """Micro-Block-C, for the higher layers (figure 4c).

    In the released models it equals Micro-Block-B. The paper keeps two names because B occurs only once, after the
    lite combination.
    """


@MODELS.register_module()
class MicroBlockE(Chain):
    """Last layer of the released models: the expanding half of a micro-factorized pointwise convolution, and A3.

    Args:
        in_channels: Cin.
        out_channels: C.
        groups1: (g1, g2), groups of the convolution and of A3. Defaults to Eq. 3.
        dynamic: which of (A1, A2, A3) are Dynamic Shift-Max; this block only has A3.
        reduction: R of A3.
        shift_max: further arguments of the Dynamic Shift-Max layer (J, shift, coefficients).
        norm_cfg: normalization layer.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, Cin, H, W) to (N, C, H, W).
    """

    @checked(**EXPANSION)
    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 groups1: Optional[Sequence[int]] = None,
                 dynamic: Sequence[bool] = (False, False, True),
                 reduction: int = 8,
                 shift_max: Optional[dict] = None,
                 norm_cfg: dict = BN,
                 init_cfg: Optional[dict] = None) -> None:
        g1, g2 = resolve_groups(groups1, num_groups(in_channels, out_channels))
        super().__init__(dict(
            expand=group_pointwise(in_channels, out_channels, g1, norm_cfg),
            act3=output_activation(dynamic[2], out_channels, g2, reduction, shift_max or {})), init_cfg=init_cfg)
