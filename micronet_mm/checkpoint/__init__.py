"""Checkpoints: what may be unpickled, and where released weights go."""
from .convert import convert_checkpoint, convert_state_dict, key_map
from .safe_globals import allow_mmengine_checkpoints

__all__ = ['allow_mmengine_checkpoints', 'convert_checkpoint', 'convert_state_dict', 'key_map']
