"""MicroNet's layers, each registered in MMEngine's root ``MODELS``."""
from .activation import Activation
from .chain import Chain
from .channel_shuffle import ChannelRoll, ChannelShuffle
from .conv_norm import ConvNorm
from .dynamic_shift_max import DynamicShiftMax, make_divisible
from .groups import num_groups
from .micro_factorized import MicroFactorizedDepthwiseConv, MicroFactorizedPointwiseConv, group_pointwise
from .scriptable import ScriptableModule

__all__ = [
    'Activation', 'Chain', 'ChannelRoll', 'ChannelShuffle', 'ConvNorm', 'DynamicShiftMax',
    'MicroFactorizedDepthwiseConv', 'MicroFactorizedPointwiseConv', 'ScriptableModule', 'group_pointwise',
    'make_divisible', 'num_groups'
]
