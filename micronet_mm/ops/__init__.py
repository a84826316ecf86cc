"""MicroNet's operators as functions of tensors."""
from .channels import SHIFTS, channel_roll, channel_shuffle
from .shift_max import shift_max

__all__ = ['SHIFTS', 'channel_roll', 'channel_shuffle', 'shift_max']
