"""Hooks for MMEngine's runner, registered in its root ``HOOKS``."""
from .epoch_seed import EpochSeedHook

__all__ = ['EpochSeedHook']
