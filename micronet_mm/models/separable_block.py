"""The block of other small detectors, for comparison with Micro-Blocks."""
from typing import Optional, Sequence

from mmcv.cnn import DepthwiseSeparableConvModule
from mmengine.registry import MODELS

from micronet_mm.validation import BUILT, COUNT, NORM, ODD, checked, optional, sequence_of


@MODELS.register_module()
class SeparableBlock(DepthwiseSeparableConvModule):
    """A depthwise and a dense pointwise convolution, each with normalization and activation.

    mmcv's DepthwiseSeparableConvModule with the arguments of a Micro-Block, so that a config can swap the two.

    Args:
        in_channels: Cin.
        out_channels: C.
        kernel_size: k of the depthwise convolution, odd.
        stride: stride of the depthwise convolution.
        expansion: ignored; accepted for compatibility with Micro-Blocks.
        norm_cfg: normalization layer.
        act_cfg: activation after both convolutions.

    Raises:
        ValueError: if the kernel is even.

    Shapes: (N, Cin, H, W) to (N, C, ceil(H / stride), ceil(W / stride)).
    """

    # An odd kernel keeps the output centred.
    @checked(in_channels=COUNT, out_channels=COUNT, kernel_size=ODD, stride=COUNT,
             expansion=optional(sequence_of(COUNT, 2)), norm_cfg=NORM, act_cfg=optional(BUILT, 'no activation'))
    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int = 3,
                 stride: int = 1,
                 expansion: Optional[Sequence[int]] = None,
                 norm_cfg: dict = dict(type='BN'),
                 act_cfg: dict = dict(type='ReLU6')) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, kernel_size // 2, norm_cfg=norm_cfg,
                         act_cfg=act_cfg)
