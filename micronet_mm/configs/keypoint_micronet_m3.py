"""COCO keypoints with MicroNet-M3 (Table 9; the paper reports 58.7 AP at 163.2M multiply-adds)."""
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook, SyncBuffersHook
from mmengine.optim import MultiStepLR
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend
from mmpose.codecs import MSRAHeatmap
from mmpose.datasets import (
    CocoDataset,
    GenerateTarget,
    GetBBoxCenterScale,
    PackPoseInputs,
    RandomBBoxTransform,
    RandomFlip,
    RandomHalfBody,
    TopdownAffine,
)
from mmpose.engine.hooks import BadCaseAnalysisHook, PoseVisualizationHook
from mmpose.evaluation import CocoMetric
from mmpose.models import KeypointMSELoss, PoseDataPreprocessor, TopdownPoseEstimator
from mmpose.visualization import PoseLocalVisualizer
from torch.optim import Adam

from micronet_mm.datasets import LoadImageOrSkip
from micronet_mm.engine.hooks import NumKeypointsHook, SafeCheckpointHook
from micronet_mm.models import MicroHeatmapHead, MicroNet

with read_base():
    from ._base_.robust import *

codec = dict(type=MSRAHeatmap, input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
model = dict(
    type=TopdownPoseEstimator,
    data_preprocessor=dict(
        type=PoseDataPreprocessor, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(type=MicroNet, arch='m3', output_stride=16),
    head=dict(
        type=MicroHeatmapHead,
        in_channels=864,
        out_channels=17,
        widths=(176, 112, 112),
        loss=dict(type=KeypointMSELoss, use_target_weight=True),
        decoder=codec),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True))

data_root = 'data/coco/'
# 4 processes with 32 crops each, the batch that HRNet's learning rate of 1e-3 is for. Elsewhere use --auto-scale-lr.
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=CocoDataset,
        data_root=data_root,
        data_mode='topdown',
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=[
            dict(type=LoadImageOrSkip),
            dict(type=GetBBoxCenterScale),
            dict(type=RandomFlip, direction='horizontal'),
            dict(type=RandomHalfBody),
            dict(type=RandomBBoxTransform, shift_prob=0, scale_factor=(0.65, 1.35), rotate_factor=90),
            dict(type=TopdownAffine, input_size=codec['input_size']),
            dict(type=GenerateTarget, encoder=codec),
            dict(type=PackPoseInputs),
        ]))
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
    dataset=dict(
        type=CocoDataset,
        data_root=data_root,
        data_mode='topdown',
        ann_file='annotations/person_keypoints_val2017.json',
        # What SimpleBaselines and HRNet report on: people found by a detector of 56.4 AP.
        bbox_file=data_root + 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=[
            dict(type=LoadImageOrSkip, skip=False),
            dict(type=GetBBoxCenterScale),
            dict(type=TopdownAffine, input_size=codec['input_size']),
            dict(type=PackPoseInputs),
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type=CocoMetric, ann_file=data_root + 'annotations/person_keypoints_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=250, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type=Adam, lr=1e-3))
param_scheduler = [dict(type=MultiStepLR, by_epoch=True, begin=0, end=250, milestones=[210, 240], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=128)

default_scope = 'mmpose'
custom_hooks = [dict(type=SyncBuffersHook), *robust_hooks, dict(type=NumKeypointsHook)]
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=50),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(
        type=SafeCheckpointHook, interval=10, max_keep_ckpts=3, save_best='coco/AP', rule='greater'),
    sampler_seed=dict(type=DistSamplerSeedHook),
    visualization=dict(type=PoseVisualizationHook, enable=False),
    badcase=dict(type=BadCaseAnalysisHook, enable=False, out_dir='badcase', metric_type='loss', badcase_thr=5))
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
visualizer = dict(type=PoseLocalVisualizer, vis_backends=[dict(type=LocalVisBackend)], name='visualizer')
log_processor = dict(type=LogProcessor, window_size=50, by_epoch=True, num_digits=6)
log_level = 'INFO'
load_from = None
resume = False
