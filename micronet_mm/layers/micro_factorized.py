"""Micro-factorized convolutions (section 3 of the paper)."""
from typing import Optional, Sequence

from mmengine.registry import MODELS

from micronet_mm.validation import COUNT, NORM, ODD, checked, optional, sequence_of

from .chain import Chain
from .channel_shuffle import ChannelShuffle
from .conv_norm import ConvNorm
from .groups import num_groups

BN = dict(type='BN')
LINE = dict(type='LineConv')


@checked(in_channels=COUNT, out_channels=COUNT, groups=COUNT, norm_cfg=NORM)
def group_pointwise(in_channels: int, out_channels: int, groups: int, norm_cfg: dict = BN) -> ConvNorm:
    """Build one half of a micro-factorized pointwise convolution: a 1x1 group convolution and normalization."""
    for name, channels in (('in_channels', in_channels), ('out_channels', out_channels)):
        if channels % groups:
            raise ValueError(f'{groups} groups do not divide {name}={channels} of a pointwise convolution; '
                             'use a common divisor, or None for Eq. 3.')
    return ConvNorm(in_channels, out_channels, 1, groups=groups, norm_cfg=norm_cfg)


@MODELS.register_module()
class MicroFactorizedDepthwiseConv(Chain):
    """A k x k depthwise convolution factorized into k x 1 and 1 x k (section 3.2).

    The cost per position falls from k^2 to 2k multiply-adds per channel. Normalization follows each half, without an
    activation between the halves. ``expansion`` > 1 applies several spatial filters to a channel. Micro-Block-A uses
    this to widen without a pointwise convolution.

    Args:
        in_channels: C, the number of input channels.
        expansion: (e1, e2), filters per channel in the k x 1 and the 1 x k half.
        kernel_size: k, odd.
        stride: stride of both halves, each along the axis of its filter.
        norm_cfg: normalization layer.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, C, H, W) to (N, C * e1 * e2, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> MicroFactorizedDepthwiseConv(8, (2, 2), kernel_size=3, stride=2)(torch.rand(1, 8, 9, 6)).shape
        torch.Size([1, 32, 5, 3])
    """

    # An odd kernel keeps the output centred.
    @checked(in_channels=COUNT, expansion=sequence_of(COUNT, 2), kernel_size=ODD, stride=COUNT, norm_cfg=NORM)
    def __init__(self,
                 in_channels: int,
                 expansion: Sequence[int] = (1, 1),
                 kernel_size: int = 3,
                 stride: int = 1,
                 norm_cfg: dict = BN,
                 init_cfg: Optional[dict] = None) -> None:
        e1, e2 = expansion
        mid_channels = in_channels * e1
        pad = kernel_size // 2
        super().__init__(dict(
            vertical=ConvNorm(in_channels, mid_channels, (kernel_size, 1), (stride, 1), (pad, 0), in_channels, LINE,
                              norm_cfg),
            horizontal=ConvNorm(mid_channels, mid_channels * e2, (1, kernel_size), (1, stride), (0, pad), mid_channels,
                                LINE, norm_cfg)), init_cfg=init_cfg)


@MODELS.register_module()
class MicroFactorizedPointwiseConv(Chain):
    """A pointwise convolution as W = P Phi Q^T (section 3.1): compress by R, shuffle, expand, all in G groups.

    With G = sqrt(C / R) (Eq. 3) the C x C matrix consists of G x G blocks of rank 1. Every output channel sees every
    input channel along exactly one path. The cost is 2 * C^2 / (R * G) multiply-adds per position.

    Args:
        in_channels: C, the number of input channels.
        out_channels: defaults to ``in_channels``.
        reduction: R; the hidden width is C / R.
        groups: G, a divisor of all three widths; defaults to Eq. 3.
        norm_cfg: normalization layer after each half.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, C, H, W) to (N, out_channels, H, W).

    Example:
        >>> MicroFactorizedPointwiseConv(18, reduction=2).groups  # figure 2 of the paper
        3
    """

    @checked(in_channels=COUNT, out_channels=optional(COUNT, 'in_channels'), reduction=COUNT,
             groups=optional(COUNT, 'Eq. 3'), norm_cfg=NORM)
    def __init__(self,
                 in_channels: int,
                 out_channels: Optional[int] = None,
                 reduction: int = 4,
                 groups: Optional[int] = None,
                 norm_cfg: dict = BN,
                 init_cfg: Optional[dict] = None) -> None:
        out_channels = out_channels or in_channels
        if in_channels % reduction:
            raise ValueError(f'reduction={reduction} does not divide in_channels={in_channels}; use a divisor.')
        hidden_channels = in_channels // reduction
        groups = groups or num_groups(in_channels, hidden_channels)
        super().__init__(dict(
            compress=group_pointwise(in_channels, hidden_channels, groups, norm_cfg),
            shuffle=ChannelShuffle(groups),
            expand=group_pointwise(hidden_channels, out_channels, groups, norm_cfg)), init_cfg=init_cfg)
        self.groups = groups
