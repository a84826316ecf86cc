"""MicroNet's operators as functions of tensors."""
from micronet_mm.ops.dispatch import computes, has_hooks, must_use_reference, reference_only

from .channels import SHIFTS, channel_roll, channel_shuffle
from .convolution import Moments, conv_with_moments, is_alike, line_conv
from .deferred import Deferred, defer, settle
from .shift_max import shift_max
from .shift_max_formula import gathered_shift_max, partners, reference_shift_max

__all__ = [
    'SHIFTS',
    'Deferred',
    'Moments',
    'channel_roll',
    'channel_shuffle',
    'computes',
    'conv_with_moments',
    'defer',
    'gathered_shift_max',
    'has_hooks',
    'is_alike',
    'line_conv',
    'must_use_reference',
    'partners',
    'reference_only',
    'reference_shift_max',
    'settle',
    'shift_max'
]
