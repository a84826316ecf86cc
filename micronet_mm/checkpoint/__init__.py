"""Checkpoints: what may be unpickled, where released weights go, and what fits a model."""
from .compatibility import check_fits
from .convert import convert_checkpoint, convert_state_dict, key_map
from .safe_globals import allow_mmengine_checkpoints

__all__ = ['allow_mmengine_checkpoints', 'check_fits', 'convert_checkpoint', 'convert_state_dict', 'key_map']
