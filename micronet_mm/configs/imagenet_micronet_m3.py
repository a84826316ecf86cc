"""MicroNet-M3 on ImageNet (Table 7; the paper reports 62.5 % top-1 at 21M multiply-adds)."""
from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import CosineAnnealingLR, LinearLR
from mmengine.visualization import LocalVisBackend
from mmpretrain.datasets import CenterCrop, ImageNet, PackInputs, RandomResizedCrop, ResizeEdge
from mmpretrain.engine.hooks import VisualizationHook
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import ImageClassifier
from mmpretrain.visualization import UniversalVisualizer
from torch.optim import SGD

from micronet_mm.datasets import LoadImageOrSkip
from micronet_mm.engine.hooks import SafeCheckpointHook
from micronet_mm.models import MicroNet, MicroNetClsHead

with read_base():
    from ._base_.robust import *

model = dict(
    type=ImageClassifier,
    backbone=dict(type=MicroNet, arch='m3'),
    head=dict(type=MicroNetClsHead, in_channels=864, hidden_channels=1024, dropout=0.1))
data_preprocessor = dict(
    num_classes=1000, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

# Classes are the folders', so any folder-per-class dataset fits: override data_root, and num_classes of the head.
folders = dict(type=ImageNet, data_root='data/imagenet', metainfo=dict(classes=None))
# 8 processes with 64 images each; with any other total batch the learning rate follows.
train_dataloader = dict(
    batch_size=64,
    num_workers=5,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        **folders,
        split='train',
        pipeline=[
            dict(type=LoadImageOrSkip),
            dict(type=RandomResizedCrop, scale=224),
            dict(type=RandomFlip, prob=0.5, direction='horizontal'),
            dict(type=PackInputs),
        ]))
val_dataloader = dict(
    batch_size=64,
    num_workers=5,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        **folders,
        split='val',
        pipeline=[
            dict(type=LoadImageOrSkip, skip=False),
            dict(type=ResizeEdge, scale=256, edge='short'),
            dict(type=CenterCrop, crop_size=224),
            dict(type=PackInputs),
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type=Accuracy, topk=(1, 5))
test_evaluator = val_evaluator
auto_scale_lr = dict(enable=True, base_batch_size=512)

epochs, warmup = 600, 5
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.2, momentum=0.9, weight_decay=4e-5))
param_scheduler = [
    dict(type=LinearLR, start_factor=1e-5, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(
        type=CosineAnnealingLR,
        T_max=epochs - warmup,
        by_epoch=True,
        begin=warmup,
        end=epochs,
        convert_to_iter_based=True),
]

default_scope = 'mmpretrain'
custom_hooks = robust_hooks
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=100),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=SafeCheckpointHook, interval=1, max_keep_ckpts=3, save_best='auto'),
    sampler_seed=dict(type=DistSamplerSeedHook),
    visualization=dict(type=VisualizationHook, enable=False))
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
visualizer = dict(type=UniversalVisualizer, vis_backends=[dict(type=LocalVisBackend)])
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=None, deterministic=False)
