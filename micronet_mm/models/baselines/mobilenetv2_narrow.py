"""The start of the path of Table 2: mmpretrain's MobileNetV2 at the cost of MicroNet-M2."""
from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones import MobileNetV2
from mmpretrain.models.utils import make_divisible
from torch import nn

from micronet_mm.validation import COUNT, POSITIVE, checked


class MobileNetV2Narrow(MobileNetV2):
    """mmpretrain's MobileNetV2 with a width multiplier that reaches all layers, and a multiplier of depth.

    mmpretrain's ``widen_factor`` rounds to multiples of 8 channels and keeps 1,280 channels after the last block. That
    layer costs over 22M multiply-adds even if the rest is narrow. Registered as ``MobileNetV2Narrow`` in the root
    ``MODELS`` of MMEngine.

    Args:
        width: multiplier of the channels.
        depth: multiplier of the number of blocks in a stage; at least one block remains.
        last_channels: channels after the last block.
        divisor: channels are rounded to multiples of it.
        **kwargs: as for mmpretrain's MobileNetV2, except ``widen_factor``.
    """

    @checked(width=POSITIVE, depth=POSITIVE, last_channels=COUNT, divisor=COUNT)
    def __init__(self, width: float = 1.0, depth: float = 1.0, last_channels: int = 1280, divisor: int = 4,
                 **kwargs: Any) -> None:
        self.width, self.depth, self.divisor = width, depth, divisor
        super().__init__(**kwargs)
        self.out_channel = last_channels
        self.conv2 = ConvModule(self.in_channels, last_channels, 1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg,
                                act_cfg=self.act_cfg)

    def make_layer(self, out_channels: int, num_blocks: int, stride: int, expand_ratio: int) -> nn.Sequential:
        if not self.layers:
            self.in_channels = make_divisible(self.in_channels * self.width, self.divisor)
            self.conv1 = ConvModule(3, self.in_channels, 3, stride=2, padding=1, conv_cfg=self.conv_cfg,
                                    norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        return super().make_layer(make_divisible(out_channels * self.width, self.divisor),
                                  max(1, round(num_blocks * self.depth)), stride, expand_ratio)
