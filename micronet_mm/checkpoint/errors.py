"""Errors of checkpoints. Each message is one line: which file, why, and what to do."""
from pickle import UnpicklingError


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used."""


class BrokenCheckpointError(CheckpointError):
    """The checkpoint cannot be read as an archive or a pickle."""


class RefusedCheckpointError(CheckpointError, UnpicklingError):
    """The checkpoint is complete but contains types that are not allowed."""


class NoGoodCheckpointError(CheckpointError):
    """No checkpoint of a folder can be resumed from."""


class UnfitCheckpointError(CheckpointError):
    """The checkpoint is complete but belongs to a run that this config cannot continue."""
