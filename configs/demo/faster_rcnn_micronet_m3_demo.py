# The detector of ../faster_rcnn_micronet_m3.py on generated pictures, from scratch, in minutes on two CPU cores.
_base_ = ['../faster_rcnn_micronet_m3.py', '../_base_/demo_figures.py']

# From scratch nothing is frozen. Neck, RPN and box head are as wide as small pictures need.
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(norm_cfg=dict(requires_grad=True), norm_eval=False, init_cfg=None),
    neck=dict(out_channels=64, norm_cfg=dict(type='BN')),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[6])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, finest_scale=28, roi_layer=dict(sampling_ratio=1)),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=4)),
    train_cfg=dict(rpn_proposal=dict(nms_pre=200, max_per_img=100), rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)))

train_dataloader = _base_.demo.train_dataloader
val_dataloader = _base_.demo.val_dataloader
test_dataloader = _base_.demo.val_dataloader
val_evaluator = _base_.demo.val_evaluator
test_evaluator = _base_.demo.val_evaluator
optim_wrapper = _base_.demo.optim_wrapper
param_scheduler = _base_.demo.param_scheduler
train_cfg = dict(max_epochs=4, val_interval=2)  # the last epoch of the schedule, at next to no learning rate, is spared
default_hooks = _base_.demo.default_hooks
randomness = dict(seed=0)
