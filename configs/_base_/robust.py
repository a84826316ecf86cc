# What our configs add to MMEngine's runtime: exact resuming, leaving on SIGTERM, and stopping where going on is no use.
custom_imports = dict(imports=['micronet_mm'], allow_failed_imports=False)
robust_hooks = [
    dict(type='EpochSeedHook'),
    dict(type='ResumeConfigHook'),
    dict(type='LastBatchHook'),
    dict(type='PreemptionHook'),
    dict(type='InvalidLossHook'),
    dict(type='WarmUpHook'),
    dict(type='BrokenImageHook', max_share=0.01),
]
