"""The keypoint head of the paper (section 6.3): Micro-Blocks from stride 16 to heatmaps at stride 4."""
from collections.abc import Sequence
from typing import Any, Optional

from mmpose.models.heads import HeatmapHead
from torch import Tensor, nn

from micronet_mm.models.blocks import MicroBlockA
from micronet_mm.models.deployable import Deployable
from micronet_mm.validation import BOOL, COUNT, NORM, ODD, SETTINGS, checked, optional, sequence_of

UPSAMPLING = dict(in_channels=COUNT, out_channels=COUNT, widths=sequence_of(COUNT), strides=sequence_of(COUNT),
                  in_stride=COUNT, norm_cfg=NORM)


class UpsamplingHeatmapHead(HeatmapHead, Deployable):
    """mmpose's HeatmapHead after a chain of blocks, with bilinear 2x upsampling whenever the stride halves.

    Args:
        in_channels: width of the last feature map.
        out_channels: number of keypoints.
        blocks: each keeps its input's height and width.
        widths: output channels of the blocks.
        strides: total stride at which each block works.
        in_stride: total stride of the last feature map.
        **kwargs: as for mmpose's HeatmapHead, except its own layers (``deconv_*``, ``conv_*``).

    Raises:
        ValueError: if the strides do not halve step by step.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: Sequence[nn.Module], widths: Sequence[int],
                 strides: Sequence[int], in_stride: int, **kwargs: Any) -> None:
        steps = [before / after for before, after in zip([in_stride, *strides], strides)]
        if not steps or any(step not in (1, 2) for step in steps):
            raise ValueError(f'strides={tuple(strides)} must be those of the blocks, each the one before or half of '
                             f'it, starting from in_stride={in_stride}.')
        super().__init__(widths[-1], out_channels, deconv_out_channels=None, **kwargs)
        self.in_channels = in_channels
        self.upsample = nn.ModuleList(
            nn.Upsample(scale_factor=2, mode='bilinear') if step == 2 else nn.Identity() for step in steps)
        self.blocks = nn.ModuleList(blocks)

    __jit_unused_properties__ = ('default_init_cfg', 'is_init')

    @property
    def default_init_cfg(self) -> dict:
        """The blocks initialize themselves."""
        return dict(type='Normal', std=0.001, override=dict(name='final_layer'))

    def forward(self, feats: tuple[Tensor]) -> Tensor:
        """Return heatmaps (N, out_channels, H, W) of ``feats[-1]``, at the stride of the last block."""
        x = feats[-1]
        for upsample, block in zip(self.upsample, self.blocks):
            x = block(upsample(x))
        return self.final_layer(x)


class MicroHeatmapHead(UpsamplingHeatmapHead):
    """Three Micro-Blocks, one at stride 8 and two at stride 4, then a pointwise convolution to the keypoints.

    The paper does not print the widths. The defaults (for MicroNet-M3) and the configs reconstruct them from the cost
    of the whole models, see docs/keypoints.md. Registered as ``MicroHeatmapHead`` in
    MMEngine's root ``MODELS``.

    Args:
        in_channels: width of the backbone's last stage.
        out_channels: number of keypoints.
        widths: output channels of the blocks; their number is the number of blocks.
        strides: total stride at which each block works.
        kernel_sizes: k of each block's depthwise convolution.
        expansions: (e1, e2) of each block.
        ratios: r of each block; the base reduction of the squeeze is R = 8 * r.
        dynamic: which of (A1, A2, A3) are Dynamic Shift-Max; a Micro-Block-A has no A1.
        spatial: give Dynamic Shift-Max spatial attention.
        shift_max: further arguments of the Dynamic Shift-Max layers (J, K, shift, init, coefficients).
        norm_cfg: normalization layer.
        in_stride: total stride of the backbone.
        **kwargs: as for mmpose's HeatmapHead: ``loss``, ``decoder``, ``final_layer``, ``init_cfg``.

    Shapes: a tuple whose last entry is (N, in_channels, H, W), to (N, out_channels, 4 * H, 4 * W).

    Raises:
        ValueError: if the lists differ in length, or the strides do not halve step by step.

    Example:
        >>> import torch
        >>> head = MicroHeatmapHead(864, 17)
        >>> head((torch.rand(1, 864, 16, 12), )).shape
        torch.Size([1, 17, 64, 48])
    """

    @checked(**UPSAMPLING, kernel_sizes=sequence_of(ODD), expansions=sequence_of(sequence_of(COUNT, 2)),
             ratios=sequence_of(COUNT), dynamic=sequence_of(BOOL, 3), spatial=BOOL, shift_max=optional(SETTINGS))
    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 widths: Sequence[int] = (176, 112, 112),
                 strides: Sequence[int] = (8, 4, 4),
                 kernel_sizes: Sequence[int] = (5, 5, 5),
                 expansions: Sequence[Sequence[int]] = ((1, 2), (2, 2), (2, 2)),
                 ratios: Sequence[int] = (2, 1, 1),
                 dynamic: Sequence[bool] = (False, True, True),
                 spatial: bool = True,
                 shift_max: Optional[dict] = None,
                 norm_cfg: dict = dict(type='BN'),
                 in_stride: int = 16,
                 **kwargs: Any) -> None:
        lists = dict(widths=widths, strides=strides, kernel_sizes=kernel_sizes, expansions=expansions, ratios=ratios)
        if len({len(values) for values in lists.values()}) != 1:
            given = ', '.join(f'{len(values)} {name}' for name, values in lists.items())
            raise ValueError(f'MicroHeatmapHead needs as many of each, one per block; got {given}.')
        shift_max = {'init': ((1, 1), (0, 0)), 'spatial': spatial, **(shift_max or {})}
        blocks, channels = [], in_channels
        for width, kernel_size, expansion, ratio in zip(widths, kernel_sizes, expansions, ratios):
            blocks.append(MicroBlockA(channels, width, kernel_size, 1, expansion, dynamic=dynamic, reduction=8 * ratio,
                                      shift_max=shift_max, norm_cfg=norm_cfg))
            channels = width
        super().__init__(in_channels, out_channels, blocks, widths, strides, in_stride, **kwargs)
