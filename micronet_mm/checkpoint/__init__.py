"""Checkpoints: what may be unpickled, where released weights go, and what fits a model."""
from .compatibility import check_fits, check_initial_weights
from .convert import convert_checkpoint, convert_state_dict, key_map, read_weights, released_as_ours
from .errors import BrokenCheckpointError, CheckpointError, RefusedCheckpointError, UnfitCheckpointError
from .safe_globals import allow_mmengine_checkpoints, allow_named

__all__ = [
    'BrokenCheckpointError', 'CheckpointError', 'RefusedCheckpointError', 'UnfitCheckpointError',
    'allow_mmengine_checkpoints', 'allow_named',
    'check_fits', 'check_initial_weights', 'convert_checkpoint', 'convert_state_dict', 'key_map', 'read_weights',
    'released_as_ours'
]
