"""The baseline of the paper's tables: mmpretrain's MobileNetV3-Small at any width."""
from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones import MobileNetV3
from mmpretrain.models.utils import InvertedResidual, make_divisible

from micronet_mm.validation import COUNT, POSITIVE, checked, one_of


def scaled_setting(width: float, stem: int, divisor: int) -> list[list]:
    """Return the rows of mmpretrain's 'small' with scaled and rounded channels and unchanged expansion ratios."""
    rows, full, scaled = [], 16, stem
    for kernel, hidden, channels, with_se, act, stride in MobileNetV3.arch_settings['small']:
        expanded = make_divisible(scaled * hidden / full, divisor)
        full, scaled = channels, make_divisible(channels * width, divisor)
        rows.append([kernel, expanded, scaled, with_se, act, stride])
    return rows


class MobileNetV3Small(MobileNetV3):
    """mmpretrain's MobileNetV3-Small with a width multiplier that reaches the stem.

    mmpretrain's narrow variants keep a stem of 16 channels. This stem costs 5.4M multiply-adds, more than the whole
    network at 0.15x. The paper's numbers match a scaled stem. Registered as ``MobileNetV3Small`` in
    MMEngine's root ``MODELS``.

    Args:
        width: multiplier of the channels; the paper compares 0.15, 0.2, 0.35, 0.5 and 1.
        divisor: channels are rounded to multiples of it.
        output_stride: 32, or 16 to run the blocks of stride 32 at stride 16, as the keypoint models do.
        **kwargs: as for mmpretrain's MobileNetV3, except ``arch``.
    """

    @checked(width=POSITIVE, divisor=COUNT, output_stride=one_of(16, 32))
    def __init__(self, width: float = 1.0, divisor: int = 8, output_stride: int = 32, **kwargs: Any) -> None:
        self.stem_width = make_divisible(16 * width, divisor)
        rows = scaled_setting(width, self.stem_width, divisor)
        if output_stride == 16:
            rows[8][-1] = 1  # the last row of stride 2
        self.arch_settings = dict(small=rows)
        super().__init__('small', **kwargs)

    def _make_layer(self) -> list[str]:
        layers = super()._make_layer()
        # mmpretrain fixes the stem's width; these two layers replace its layers.
        kernel, hidden, channels, _, act, stride = self.arch_settings['small'][0]
        self.layer0 = ConvModule(3, self.stem_width, 3, stride=2, padding=1, conv_cfg=self.conv_cfg,
                                 norm_cfg=self.norm_cfg, act_cfg=dict(type='HSwish'))
        squeeze = dict(channels=hidden, ratio=4, act_cfg=(dict(type='ReLU'), dict(type='HSigmoid')))
        self.layer1 = InvertedResidual(self.stem_width, channels, hidden, kernel, stride, squeeze,
                                       conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=dict(type=act),
                                       with_cp=self.with_cp)
        # mmpretrain builds and runs layers after the last of out_indices.
        used = layers[:max(self.out_indices) + 1]
        for name in layers[len(used):]:
            delattr(self, name)
        return used
