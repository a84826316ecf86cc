# The classifier of ../imagenet_micronet_m0.py on scikit-learn's handwritten digits, in minutes on two CPU cores.
_base_ = '../imagenet_micronet_m0.py'

data_root = 'data/digits/'
size = 48

model = dict(head=dict(num_classes=10))
data_preprocessor = dict(num_classes=10)

# A digit fills its picture and is not the same when mirrored.
train_pipeline = [
    dict(type='LoadImageOrSkip'),
    dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.6, 1.0)),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageOrSkip', skip=False),
    dict(type='Resize', scale=(size, size)),
    dict(type='PackInputs'),
]
loader = dict(num_workers=0, persistent_workers=False, pin_memory=False)
train_dataloader = dict(batch_size=32, **loader, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

epochs = 40
train_cfg = dict(max_epochs=epochs, val_interval=5)
param_scheduler = dict(T_max=epochs, end=epochs)
optim_wrapper = dict(optimizer=dict(lr=0.8))  # for a total batch of 512, so 0.05 here
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
