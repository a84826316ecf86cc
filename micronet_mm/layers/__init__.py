"""MicroNet's layers, each registered in MMEngine's root ``MODELS``."""
from .channel_shuffle import ChannelRoll, ChannelShuffle
from .dynamic_shift_max import DynamicShiftMax, make_divisible
from .groups import num_groups
from .micro_factorized import MicroFactorizedDepthwiseConv, MicroFactorizedPointwiseConv, group_pointwise

__all__ = [
    'ChannelRoll', 'ChannelShuffle', 'DynamicShiftMax', 'MicroFactorizedDepthwiseConv', 'MicroFactorizedPointwiseConv',
    'group_pointwise', 'make_divisible', 'num_groups'
]
