# Micro-Blocks in backbone, neck and head, on MicroNet-M2.
_base_ = './_base_/micro_det.py'

model = dict(
    backbone=dict(
        arch='m2', init_cfg=dict(type='Pretrained', checkpoint='checkpoints/micronet_m2.pth', prefix='backbone.')),
    neck=dict(in_channels=[24, 64, 768], out_channels=128),
    bbox_head=dict(in_channels=128))
