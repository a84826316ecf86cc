"""MicroNet's operators as functions of tensors."""
from .channels import SHIFTS, channel_roll, channel_shuffle
from .shift_max import reference_only, reference_shift_max, shift_max

__all__ = ['SHIFTS', 'channel_roll', 'channel_shuffle', 'reference_only', 'reference_shift_max', 'shift_max']
