# The detector of ../retinanet_micronet_m3.py on generated pictures, from scratch, in minutes on two CPU cores.
_base_ = ['../retinanet_micronet_m3.py', '../_base_/demo_figures.py']

# From scratch nothing is frozen. The head, as wide as small pictures need, serves all levels and so cannot have BN:
# its running statistics would mix them.
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(norm_cfg=dict(requires_grad=True), norm_eval=False, init_cfg=None),
    neck=dict(out_channels=64, norm_cfg=dict(type='BN')),
    bbox_head=dict(
        num_classes=4,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
        anchor_generator=dict(octave_base_scale=3)))

train_dataloader = _base_.demo.train_dataloader
val_dataloader = _base_.demo.val_dataloader
test_dataloader = _base_.demo.val_dataloader
val_evaluator = _base_.demo.val_evaluator
test_evaluator = _base_.demo.val_evaluator
train_cfg = _base_.demo.train_cfg
optim_wrapper = _base_.demo.optim_wrapper
param_scheduler = _base_.demo.param_scheduler
default_hooks = _base_.demo.default_hooks
randomness = dict(seed=0)
