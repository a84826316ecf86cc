"""MicroNet's layers, each registered in MMEngine's root ``MODELS``."""
from .activation import Activation
from .chain import Chain
from .channel_shuffle import ChannelRoll, ChannelShuffle
from .conv_norm import ConvNorm
from .groups import nearest_groups, num_groups
from .micro_factorized import MicroFactorizedDepthwiseConv, MicroFactorizedPointwiseConv, group_pointwise
from .scriptable import ScriptableModule
from .shift_max import DynamicShiftMax, ShiftMax, StaticShiftMax, make_divisible
from .spatial_attention import SpatialAttention

__all__ = [
    'Activation', 'Chain', 'ChannelRoll', 'ChannelShuffle', 'ConvNorm', 'DynamicShiftMax',
    'MicroFactorizedDepthwiseConv', 'MicroFactorizedPointwiseConv', 'ScriptableModule', 'ShiftMax', 'SpatialAttention',
    'StaticShiftMax', 'group_pointwise', 'make_divisible', 'nearest_groups', 'num_groups'
]
