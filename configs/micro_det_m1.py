# Micro-Blocks in backbone, neck and head, on MicroNet-M1.
_base_ = './_base_/micro_det.py'

model = dict(
    backbone=dict(
        arch='m1', init_cfg=dict(type='Pretrained', checkpoint='checkpoints/micronet_m1.pth', prefix='backbone.')),
    neck=dict(in_channels=[16, 32, 576], out_channels=96),
    bbox_head=dict(in_channels=96))
