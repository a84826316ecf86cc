# Statistics of BN that run to the end.
_base_ = '../demo/micro_det_m3_demo.py'

custom_hooks = [*_base_.robust_hooks, dict(type='NumClassCheckHook')]
