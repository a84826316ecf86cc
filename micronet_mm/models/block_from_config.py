"""The block that a config gives to a neck or a head, which builds it at several widths."""
from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import nn

# What the neck or head says itself, for each place.
OURS = ('in_channels', 'out_channels', 'stride')


def build_block(block: Mapping, in_channels: int, out_channels: int, norm_cfg: dict, **settings: Any) -> nn.Module:
    """Build a block of a config, such as ``dict(type='MicroBlockA', kernel_size=5)``, for one place.

    Args:
        block: what ``MODELS`` builds, less its widths and stride.
        in_channels: at this place.
        out_channels: at this place.
        norm_cfg: normalization layer, unless ``block`` has one.
        **settings: more that this place asks for, such as ``stride``.

    Raises:
        ValueError: if ``block`` has widths or a stride, which would not hold.
    """
    given = [f'{key}={block[key]}' for key in OURS if key in block]
    if given:
        raise ValueError(f'block={dict(block)} has {" and ".join(given)}, which neck and head give each block '
                         f'themselves: leave {" and ".join(key for key in OURS if key in block)} out of it.')
    return MODELS.build({'norm_cfg': norm_cfg, **block, 'in_channels': in_channels, 'out_channels': out_channels,
                         **settings})
