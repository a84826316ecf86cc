# The keypoint model of ../keypoint_micronet_m0.py on generated pictures, in minutes on two CPU cores.
_base_ = '../keypoint_micronet_m0.py'

figures = 'data/figures/'
# Crops are small against the distances that count, so keypoints are read from between the pixels (DARK).
codec = dict(type='MSRAHeatmap', input_size=(128, 176), heatmap_size=(32, 44), sigma=2, unbiased=True)
model = dict(head=dict(decoder=codec))

train_pipeline = [
    dict(type='LoadImageOrSkip'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_prob=0, scale_factor=(0.8, 1.2), rotate_factor=20),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
test_pipeline = [
    dict(type='LoadImageOrSkip', skip=False),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_root=figures,
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline),
    **loader)
val_dataloader = dict(
    dataset=dict(
        data_root=figures,
        ann_file='annotations/person_keypoints_val.json',
        bbox_file=None,
        data_prefix=dict(img='val/'),
        pipeline=test_pipeline),
    **loader)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=figures + 'annotations/person_keypoints_val.json')
test_evaluator = val_evaluator

epochs = 10
train_cfg = dict(max_epochs=epochs, val_interval=5)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=epochs, eta_min=4e-5, convert_to_iter_based=True),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
