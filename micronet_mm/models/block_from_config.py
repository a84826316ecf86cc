"""Build a block from a config, for necks and heads that use it at several widths."""
from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import nn

# Set by the neck or head for each block.
OURS = ('in_channels', 'out_channels', 'stride')


def build_block(block: Mapping, in_channels: int, out_channels: int, norm_cfg: dict, **settings: Any) -> nn.Module:
    """Build a block from a config such as ``dict(type='MicroBlockA', kernel_size=5)``.

    Args:
        block: config of the block without widths and stride.
        in_channels: input channels.
        out_channels: output channels.
        norm_cfg: normalization layer, unless ``block`` has one.
        **settings: further arguments, such as ``stride``.

    Raises:
        ValueError: if ``block`` has widths or a stride.
    """
    given = [f'{key}={block[key]}' for key in OURS if key in block]
    if given:
        raise ValueError(f'block={dict(block)} has {" and ".join(given)}, which neck and head give each block '
                         f'themselves: leave {" and ".join(key for key in OURS if key in block)} out of it.')
    return MODELS.build({'norm_cfg': norm_cfg, **block, 'in_channels': in_channels, 'out_channels': out_channels,
                         **settings})
