"""A feature pyramid of Micro-Blocks for detectors."""
from collections.abc import Sequence
from typing import Any, Optional

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from micronet_mm.models.block_from_config import build_block
from micronet_mm.models.deployable import Deployable
from micronet_mm.validation import BUILT, COUNT, NORM, checked, sequence_of


@MODELS.register_module()
class MicroPAFPN(BaseModule, Deployable):
    """Path aggregation (PANet, arXiv:1803.01534) whose laterals, top-down and bottom-up steps are Micro-Blocks.

    A lateral changes each backbone map to the common width. The top-down path enlarges a map, adds it to the finer
    lateral and refines the sum with a block. The bottom-up path reduces a map with a block of stride 2, adds it to the
    coarser map and refines the sum. Maps are added, not concatenated: in a group convolution over concatenated maps,
    most groups would see only one of the maps.

    Args:
        in_channels: widths of the backbone's maps, finest first.
        out_channels: width of the pyramid.
        block: config of a block without widths and stride, usually a Micro-Block.
        expansions: (e1, e2) of each lateral. Wide maps need no expansion; narrow maps are widened.
        norm_cfg: normalization layer, unless ``block`` has one.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: a tuple of (N, in_channels[i], H / 2^i, W / 2^i), rounded up, to the same with ``out_channels``.

    Raises:
        ValueError: if there is not one expansion for each map, or it is called with another number of maps.

    Example:
        >>> import torch
        >>> neck = MicroPAFPN((24, 80, 864), 96, dict(type='MicroBlockA', kernel_size=5))
        >>> maps = [torch.rand(1, c, s, s) for c, s in ((24, 40), (80, 20), (864, 10))]
        >>> [tuple(m.shape[1:]) for m in neck(maps)]
        [(96, 40, 40), (96, 20, 20), (96, 10, 10)]
    """

    @checked(in_channels=sequence_of(COUNT), out_channels=COUNT, block=BUILT,
             expansions=sequence_of(sequence_of(COUNT, 2)), norm_cfg=NORM)
    def __init__(self,
                 in_channels: Sequence[int],
                 out_channels: int,
                 block: dict,
                 expansions: Sequence[Sequence[int]] = ((2, 2), (1, 2), (1, 1)),
                 norm_cfg: dict = dict(type='BN'),
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        if len(expansions) != len(in_channels):
            raise ValueError(f'MicroPAFPN needs an expansion for each map; got {len(expansions)} expansions for '
                             f'{len(in_channels)} in_channels.')

        def blocks(widths: Sequence[int], **settings: Any) -> nn.ModuleList:
            return nn.ModuleList(build_block(block, width, out_channels, norm_cfg, **settings) for width in widths)

        self.in_channels = tuple(in_channels)
        self.out_channels = out_channels
        steps = [out_channels] * (len(in_channels) - 1)
        self.laterals = nn.ModuleList(blocks([width], expansion=expansion)[0]
                                      for width, expansion in zip(in_channels, expansions))
        self.top_down = blocks(steps)
        self.downsample = blocks(steps, stride=2)
        self.bottom_up = blocks(steps)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if len(feats) != len(self.laterals):
            raise ValueError(f'MicroPAFPN reads {len(self.laterals)} maps, as in_channels={self.in_channels} says; got '
                             f'{len(feats)}.')
        maps = [lateral(feat) for lateral, feat in zip(self.laterals, feats)]
        for i in reversed(range(len(maps) - 1)):
            enlarged = F.interpolate(maps[i + 1], size=maps[i].shape[2:], mode='nearest')
            maps[i] = self.top_down[i](maps[i] + enlarged)
        for i in range(len(maps) - 1):
            maps[i + 1] = self.bottom_up[i](maps[i + 1] + self.downsample[i](maps[i]))
        return tuple(maps)
