# Tiny-ImageNet (200 classes, 100,000 + 10,000 images of 64 x 64) in 24 epochs, for a CPU of two cores.
#
# Images are enlarged to 128 x 128 for validation. Training starts with small images, which cost less, and ends with
# 128 x 128. All networks share this recipe.
_base_ = [
    'mmpretrain::_base_/schedules/imagenet_bs256_coslr.py',
    'mmpretrain::_base_/default_runtime.py',
    './robust.py',
]

data_root = 'data/tiny_imagenet/'
data_preprocessor = dict(
    num_classes=200, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

load, pack = dict(type='LoadImageOrSkip'), dict(type='PackInputs')
flip = dict(type='RandomFlip', prob=0.5, direction='horizontal')
train_64, train_96, train_128 = (
    [load, dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.35, 1.0)), flip, pack]
    for size in (64, 96, 128))
test_pipeline = [
    dict(type='LoadImageOrSkip', skip=False),
    dict(type='Resize', scale=(128, 128)),
    pack,
]
loader = dict(batch_size=128, num_workers=0, persistent_workers=False, collate_fn=dict(type='default_collate'))
train_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train', pipeline=train_64))
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

epochs, warmup = 24, 1
train_cfg = dict(max_epochs=epochs, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=0.3, nesterov=True, weight_decay=3e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=epochs - warmup, by_epoch=True, begin=warmup, end=epochs,
         convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=128)

custom_hooks = [
    *_base_.robust_hooks,
    dict(type='SwitchRecipeHook', schedule=[
        dict(action_epoch=11, train_pipeline=train_96),
        dict(action_epoch=19, train_pipeline=train_128),
    ]),
]
default_hooks = dict(
    logger=dict(interval=100),
    checkpoint=dict(type='SafeCheckpointHook', max_keep_ckpts=1, save_best='auto'))
randomness = dict(seed=0)
