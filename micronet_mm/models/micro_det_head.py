"""GFL's head with Micro-Blocks in place of its convolutions."""
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Optional

from mmdet.models.dense_heads import GFLHead
from mmengine.registry import MODELS
from torch import Tensor, nn

from .deployable import Deployable


class MicroDetHead(GFLHead, Deployable):
    """mmdet's GFL head on Micro-Blocks; assignment, losses, coding and suppression of boxes are GFL's.

    Classes and boxes share their blocks, and each level of the pyramid has blocks of its own, as in NanoDet: BN would
    mix the statistics of levels that share them. Registered as ``MicroDetHead`` in MMEngine's root ``MODELS``.

    Args:
        num_classes: number of classes.
        in_channels: width of the pyramid.
        block: what ``MODELS`` builds, less its widths: mostly a Micro-Block, which is to keep height and width.
        feat_channels: width of the blocks; defaults to ``in_channels``.
        stacked_convs: number of blocks on each level.
        norm_cfg: normalization layer, unless ``block`` has one.
        init_cfg: of what predicts; the blocks initialize themselves. At first nothing is found.
        **kwargs: as for mmdet's GFLHead.

    Shapes: a sequence of (N, in_channels, H, W), one for each level, to a list of scores (N, num_classes, H, W) and a
    list of logits (N, 4 * (reg_max + 1), H, W): how many strides a box reaches to the left, top, right and bottom.
    """

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
        self.block = block
        super().__init__(num_classes, in_channels, feat_channels=feat_channels or in_channels,
                         stacked_convs=stacked_convs, norm_cfg=norm_cfg, init_cfg=init_cfg, **kwargs)

    def _init_layers(self) -> None:
        widths = [self.in_channels] + [self.feat_channels] * self.stacked_convs
        levels = range(len(self.prior_generator.strides))

        def blocks() -> nn.Sequential:
            return nn.Sequential(*(
                MODELS.build({'norm_cfg': self.norm_cfg, **self.block, 'in_channels': before, 'out_channels': after})
                for before, after in pairwise(widths)))

        self.blocks = nn.ModuleList(blocks() for _ in levels)
        self.gfl_cls = nn.ModuleList(nn.Conv2d(widths[-1], self.cls_out_channels, 1) for _ in levels)
        self.gfl_reg = nn.ModuleList(nn.Conv2d(widths[-1], 4 * (self.reg_max + 1), 1) for _ in levels)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        feats = [blocks(feat) for blocks, feat in zip(self.blocks, feats)]
        return ([score(feat) for score, feat in zip(self.gfl_cls, feats)],
                [extent(feat).float() for extent, feat in zip(self.gfl_reg, feats)])
