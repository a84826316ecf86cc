"""What our configs add to MMEngine's runtime: exact resuming, leaving on SIGTERM, stopping where going on is no use."""
from micronet_mm.engine.hooks import (
    BrokenImageHook,
    EpochSeedHook,
    InvalidLossHook,
    LastBatchHook,
    PreemptionHook,
    ResumeConfigHook,
    WarmUpHook,
)

robust_hooks = [
    dict(type=EpochSeedHook),
    dict(type=ResumeConfigHook),
    dict(type=LastBatchHook),
    dict(type=PreemptionHook),
    dict(type=InvalidLossHook),
    dict(type=WarmUpHook),
    dict(type=BrokenImageHook, max_share=0.01),
]
