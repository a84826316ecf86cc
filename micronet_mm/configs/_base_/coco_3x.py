"""COCO for 36 epochs (3x) with the augmentation of Detectron2: short side 640 to 800, long side up to 1333."""
from mmcv.transforms import RandomChoiceResize
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip
from mmdet.engine.hooks import NumClassCheckHook
from mmengine.config import read_base
from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from torch.optim import SGD

from micronet_mm.datasets import LoadImageOrSkip
from micronet_mm.engine.hooks import SafeCheckpointHook

with read_base():
    from .coco_detection import *
    from .mmdet_runtime import *
    from .robust import *

# 8 processes with 2 images each: the learning rates are for a total batch of 16. Elsewhere use --auto-scale-lr.
train_dataloader.update(batch_size=2)
train_dataloader.dataset.update(pipeline=[
    dict(type=LoadImageOrSkip),
    dict(type=LoadAnnotations, with_bbox=True),
    dict(type=RandomChoiceResize, scales=[(1333, side) for side in range(640, 801, 32)], keep_ratio=True),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackDetInputs),
])
auto_scale_lr = dict(enable=False, base_batch_size=16)

train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=36, val_interval=1)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.02, momentum=0.9, weight_decay=0.0001))
# Detectron2 decays at 210k and 250k of 270k iterations: epochs 28 and 33.3 of 36.
param_scheduler = [
    dict(type=LinearLR, start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type=MultiStepLR, by_epoch=True, begin=0, end=36, milestones=[28, 33], gamma=0.1),
]
custom_hooks = [*robust_hooks, dict(type=NumClassCheckHook)]
default_hooks.update(checkpoint=dict(type=SafeCheckpointHook, interval=1, max_keep_ckpts=3, save_best='auto'))
