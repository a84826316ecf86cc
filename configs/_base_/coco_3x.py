# COCO for 36 epochs (3x) with the augmentation of Detectron2: short side 640 to 800, long side up to 1333.
_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
    './robust.py',
]

train_pipeline = [
    dict(type='LoadImageOrSkip'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=[(1333, side) for side in range(640, 801, 32)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
# 8 processes with 2 images each: the learning rates are for a total batch of 16. Elsewhere use --auto-scale-lr.
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=36)
# Detectron2 decays at 210k and 250k of 270k iterations: epochs 28 and 33.3 of 36.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=36, milestones=[28, 33], gamma=0.1),
]
# And a word, before training, when num_classes does not fit the dataset.
custom_hooks = [*_base_.robust_hooks, dict(type='NumClassCheckHook')]
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook', max_keep_ckpts=3, save_best='auto'))
