# ImageNet as the released scripts train it: 600 epochs, cosine to 0 per iteration, lr 0.2 for a total batch of 512.
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256_coslr.py',
    'mmpretrain::_base_/default_runtime.py',
    './robust.py',
]

epochs = 600
train_cfg = dict(max_epochs=epochs)
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=3e-5))
param_scheduler = dict(T_max=epochs, end=epochs, convert_to_iter_based=True)

train_pipeline = [
    dict(type='LoadImageOrSkip'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageOrSkip', skip=False),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
# Classes are the folders', so any folder-per-class dataset fits: override data_root, and num_classes of the head.
folders = dict(metainfo=dict(classes=None))
# 8 processes with 64 images each; with any other total batch the learning rate follows.
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline, **folders))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline, **folders))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=True, base_batch_size=512)

custom_hooks = _base_.robust_hooks
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook', max_keep_ckpts=3, save_best='auto'))
