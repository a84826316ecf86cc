"""Micro-Blocks in backbone, neck and head, on MicroNet-M3; see docs/micro_det.md."""
from mmcv.ops import nms
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import (
    LoadAnnotations,
    PackDetInputs,
    PhotoMetricDistortion,
    RandomAffine,
    RandomFlip,
    Resize,
)
from mmdet.engine.hooks import NumClassCheckHook
from mmdet.models import GFL, DistributionFocalLoss, GIoULoss, QualityFocalLoss
from mmdet.models.layers import ExpMomentumEMA
from mmdet.models.task_modules import AnchorGenerator, ATSSAssigner
from mmengine.config import read_base
from mmengine.hooks import EMAHook
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from torch.optim import AdamW

from micronet_mm.datasets import LoadImageOrSkip
from micronet_mm.engine.hooks import SafeCheckpointHook
from micronet_mm.models import MicroBlockA, MicroDetHead, MicroNet, MicroPAFPN

with read_base():
    from ._base_.coco_detection import *
    from ._base_.mmdet_runtime import *
    from ._base_.robust import *

lite = dict(type=MicroBlockA, kernel_size=5, expansion=(2, 2))

model.update(
    type=GFL,
    backbone=dict(
        type=MicroNet,
        arch='m3',
        out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/micronet_m3.pth', prefix='backbone.')),
    neck=dict(
        type=MicroPAFPN,
        in_channels=[24, 80, 864],
        out_channels=192,
        block=dict(**lite, dynamic=(False, True, True), reduction=32)),
    bbox_head=dict(
        type=MicroDetHead,
        num_classes=80,
        in_channels=192,
        stacked_convs=2,
        block=dict(**lite, dynamic=(False, False, False)),
        reg_max=7,
        anchor_generator=dict(
            type=AnchorGenerator, ratios=[1.0], octave_base_scale=5, scales_per_octave=1, strides=[8, 16, 32]),
        loss_cls=dict(type=QualityFocalLoss, use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type=DistributionFocalLoss, loss_weight=0.25),
        loss_bbox=dict(type=GIoULoss, loss_weight=2.0)),
    train_cfg=dict(assigner=dict(type=ATSSAssigner, topk=9), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type=nms, iou_threshold=0.6),
        max_per_img=100))

square = dict(type=Resize, scale=(320, 320), keep_ratio=False)
test_pipeline = [
    dict(type=LoadImageFromFile),
    square,
    dict(type=LoadAnnotations, with_bbox=True),
    dict(type=PackDetInputs, meta_keys=meta_keys),
]
# One process. On several, or with another batch, use --auto-scale-lr.
train_dataloader.update(batch_size=96, num_workers=10, batch_sampler=None)
train_dataloader.dataset.update(pipeline=[
    dict(type=LoadImageOrSkip),
    dict(type=LoadAnnotations, with_bbox=True),
    square,
    dict(
        type=RandomAffine,
        scaling_ratio_range=(0.6, 1.4),
        max_translate_ratio=0.2,
        max_rotate_degree=0,
        max_shear_degree=0,
        border_val=(0, 0, 0)),
    dict(type=RandomFlip, prob=0.5),
    dict(
        type=PhotoMetricDistortion,
        brightness_delta=51,
        contrast_range=(0.6, 1.4),
        saturation_range=(0.5, 1.2),
        hue_delta=0),
    dict(type=PackDetInputs),
])
val_dataloader.update(batch_size=32, num_workers=4)
val_dataloader.dataset.update(pipeline=test_pipeline)
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=False, base_batch_size=96)

train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=300, val_interval=10)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
optim_wrapper = dict(
    type=OptimWrapper, optimizer=dict(type=AdamW, lr=0.001, weight_decay=0.05), clip_grad=dict(max_norm=35))
param_scheduler = [
    dict(type=LinearLR, start_factor=1e-4, by_epoch=False, begin=0, end=500),
    dict(type=CosineAnnealingLR, begin=0, end=300, T_max=300, eta_min=5e-5, by_epoch=True),
]
custom_hooks = [
    dict(type=EMAHook, ema_type=ExpMomentumEMA, momentum=0.0002, update_buffers=True),
    *robust_hooks,
    dict(type=NumClassCheckHook),
]
default_hooks.update(checkpoint=dict(type=SafeCheckpointHook, interval=10, max_keep_ckpts=3, save_best='auto'))
