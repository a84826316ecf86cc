"""MicroNet's operators as functions of tensors."""
from .channels import SHIFTS, channel_roll, channel_shuffle
from .compiled import reference_only
from .convolution import Moments, conv_with_moments, line_conv
from .deferred import Deferred, defer, settle
from .shift_max import gathered_shift_max, partners, reference_shift_max, shift_max

__all__ = [
    'SHIFTS', 'Deferred', 'Moments', 'channel_roll', 'channel_shuffle', 'conv_with_moments', 'defer',
    'gathered_shift_max', 'line_conv', 'partners', 'reference_only', 'reference_shift_max', 'settle', 'shift_max'
]
