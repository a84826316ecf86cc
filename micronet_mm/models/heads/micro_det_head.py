"""GFL's head with Micro-Blocks instead of convolutions."""
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Optional

from mmdet.models.dense_heads import GFLHead
from torch import Tensor, nn

from micronet_mm.models.block_from_config import build_block
from micronet_mm.models.deployable import Deployable
from micronet_mm.validation import BUILT, COUNT, NORM, checked, integer, optional


class MicroDetHead(GFLHead, Deployable):
    """mmdet's GFL head on Micro-Blocks, with GFL's assignment, losses, box coding and suppression.

    Classes and boxes share their blocks. Each pyramid level has its own blocks, as in NanoDet, because shared BN would
    mix the statistics of the levels. Registered as ``MicroDetHead`` in MMEngine's root ``MODELS``.

    Args:
        num_classes: number of classes.
        in_channels: width of the pyramid.
        block: config of a block without widths and stride, usually a Micro-Block.
        feat_channels: width of the blocks; defaults to ``in_channels``.
        stacked_convs: number of blocks on each level.
        norm_cfg: normalization layer, unless ``block`` has one.
        init_cfg: initialization of the predicting convolutions; the blocks initialize themselves. An untrained head
            finds nothing.
        **kwargs: as for mmdet's GFLHead, except ``conv_cfg``.

    Raises:
        ValueError: if ``block`` has widths or a stride, if ``conv_cfg`` is given, or if the number of feature maps is
            not the number of strides of the anchor generator.

    Shapes: a sequence of (N, in_channels, H, W), one for each level, to a list of scores (N, num_classes, H, W) and a
    list of logits (N, 4 * (reg_max + 1), H, W). The logits are distances to the left, top, right and bottom of a box,
    in strides.
    """

    @checked(num_classes=COUNT, in_channels=COUNT, block=BUILT, feat_channels=optional(COUNT, 'in_channels'),
             stacked_convs=integer(0), norm_cfg=NORM)
    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 block: dict,
                 feat_channels: Optional[int] = None,
                 stacked_convs: int = 2,
                 norm_cfg: dict = dict(type='BN'),
                 init_cfg: dict = dict(type='Normal', override=[
                     dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01),
                     dict(type='Normal', name='gfl_reg', std=0.01),
                 ]),
                 **kwargs: Any) -> None:
        if kwargs.get('conv_cfg'):
            raise ValueError(f'MicroDetHead has conv_cfg={kwargs["conv_cfg"]}, but block defines its convolutions: '
                             'leave conv_cfg out.')
        self.block = block
        super().__init__(num_classes, in_channels, feat_channels=feat_channels or in_channels,
                         stacked_convs=stacked_convs, norm_cfg=norm_cfg, init_cfg=init_cfg, **kwargs)

    def _init_layers(self) -> None:
        widths = [self.in_channels] + [self.feat_channels] * self.stacked_convs
        levels = range(len(self.prior_generator.strides))

        def blocks() -> nn.Sequential:
            return nn.Sequential(*(build_block(self.block, before, after, self.norm_cfg)
                                   for before, after in pairwise(widths)))

        self.blocks = nn.ModuleList(blocks() for _ in levels)
        self.gfl_cls = nn.ModuleList(nn.Conv2d(widths[-1], self.cls_out_channels, 1) for _ in levels)
        self.gfl_reg = nn.ModuleList(nn.Conv2d(widths[-1], 4 * (self.reg_max + 1), 1) for _ in levels)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        if len(feats) != len(self.blocks):
            raise ValueError(f'MicroDetHead reads {len(self.blocks)} maps, one for each of the anchor generator\'s '
                             f'strides; got {len(feats)}: give it a stride for each map.')
        feats = [blocks(feat) for blocks, feat in zip(self.blocks, feats)]
        return ([score(feat) for score, feat in zip(self.gfl_cls, feats)],
                [extent(feat).float() for extent, feat in zip(self.gfl_reg, feats)])
