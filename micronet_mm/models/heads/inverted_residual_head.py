"""The keypoint head of the paper's baseline."""
from collections.abc import Sequence
from typing import Any

from mmpretrain.models.utils import InvertedResidual

from micronet_mm.models.heads.heatmap_head import UPSAMPLING, UpsamplingHeatmapHead
from micronet_mm.validation import COUNT, ODD, checked


class InvertedResidualHeatmapHead(UpsamplingHeatmapHead):
    """MobileNetV3's blocks (mmpretrain's), one at stride 8 and two at stride 4, then a pointwise convolution.

    The paper does not print the widths; the defaults are a reconstruction, see docs/keypoints.md. Registered as
    ``InvertedResidualHeatmapHead`` in MMEngine's root ``MODELS``.

    Args:
        in_channels: width of the backbone's last stage.
        out_channels: number of keypoints.
        widths: output channels of the blocks.
        strides: total stride at which each block works.
        kernel_size: of the depthwise convolutions.
        expansion: hidden width in multiples of the output channels.
        norm_cfg: normalization layer.
        in_stride: total stride of the backbone.
        **kwargs: as for mmpose's HeatmapHead: ``loss``, ``decoder``, ``final_layer``, ``init_cfg``.

    Shapes: a tuple whose last entry is (N, in_channels, H, W), to (N, out_channels, 4 * H, 4 * W).
    """

    @checked(**UPSAMPLING, kernel_size=ODD, expansion=COUNT)
    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 widths: Sequence[int] = (224, 56, 56),
                 strides: Sequence[int] = (8, 4, 4),
                 kernel_size: int = 3,
                 expansion: int = 5,
                 norm_cfg: dict = dict(type='BN'),
                 in_stride: int = 16,
                 **kwargs: Any) -> None:
        blocks, channels = [], in_channels
        for width in widths:
            hidden = expansion * width
            squeeze = dict(channels=hidden, ratio=4, act_cfg=(dict(type='ReLU'), dict(type='HSigmoid')))
            blocks.append(InvertedResidual(channels, width, hidden, kernel_size, se_cfg=squeeze, norm_cfg=norm_cfg,
                                           act_cfg=dict(type='HSwish')))
            channels = width
        super().__init__(in_channels, out_channels, blocks, widths, strides, in_stride, **kwargs)
