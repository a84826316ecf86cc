"""Why a checkpoint cannot be used; each message says in one line which, why and what to do."""
from pickle import UnpicklingError


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used."""


class BrokenCheckpointError(CheckpointError):
    """It cannot be read as an archive or a pickle."""


class RefusedCheckpointError(CheckpointError, UnpicklingError):
    """It is whole, and holds what is not allowed."""


class NoGoodCheckpointError(CheckpointError):
    """There are checkpoints, but none to resume from."""


class UnfitCheckpointError(CheckpointError):
    """It is whole, and of a run that this config cannot continue."""
