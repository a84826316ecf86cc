"""Hooks for MMEngine's runner, registered in its root ``HOOKS``."""
from .broken_image import BrokenImageHook
from .compile import CompileHook
from .draw_each import DrawEachHook
from .epoch_seed import EpochSeedHook
from .freeze_norm import FreezeNormHook
from .invalid_loss import InvalidLossHook
from .last_batch import LastBatchHook
from .num_keypoints import NumKeypointsHook
from .preemption import PreemptionHook
from .resume_config import ResumeConfigHook
from .safe_checkpoint import SafeCheckpointHook
from .warm_up import WarmUpHook

__all__ = [
    'BrokenImageHook', 'CompileHook', 'DrawEachHook', 'EpochSeedHook', 'FreezeNormHook', 'InvalidLossHook',
    'LastBatchHook', 'NumKeypointsHook', 'PreemptionHook', 'ResumeConfigHook', 'SafeCheckpointHook', 'WarmUpHook'
]
