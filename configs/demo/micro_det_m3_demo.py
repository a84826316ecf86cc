# The detector of ../micro_det_m3.py on generated pictures, from scratch, in minutes on two CPU cores.
_base_ = ['../micro_det_m3.py', '../_base_/demo_figures.py']

# Neck and head are as wide as small pictures need, and look for small things.
model = dict(
    backbone=dict(init_cfg=None),
    neck=dict(out_channels=64),
    bbox_head=dict(num_classes=4, in_channels=64, anchor_generator=dict(octave_base_scale=4)))

train_dataloader = _base_.demo.train_dataloader
val_dataloader = _base_.demo.val_dataloader
test_dataloader = _base_.demo.val_dataloader
val_evaluator = _base_.demo.val_evaluator
test_evaluator = _base_.demo.val_evaluator
train_cfg = _base_.demo.train_cfg
optim_wrapper = dict(optimizer=dict(lr=4e-3, fused=True), clip_grad=dict(max_norm=10))
param_scheduler = _base_.demo.param_scheduler
default_hooks = _base_.demo.default_hooks
# In batches of 8 an image weighs so much that evaluation, which knows no batch, differs from training.
custom_hooks = [dict(type='FreezeNormHook', begin=0.8), *_base_.robust_hooks, dict(type='NumClassCheckHook')]
randomness = dict(seed=0)
