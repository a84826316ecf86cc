"""MicroNet's operators as functions of tensors."""
from .channels import SHIFTS, channel_roll, channel_shuffle
from .compiled import reference_only
from .line_conv import line_conv
from .shift_max import reference_shift_max, shift_max

__all__ = [
    'SHIFTS', 'channel_roll', 'channel_shuffle', 'line_conv', 'reference_only', 'reference_shift_max', 'shift_max'
]
