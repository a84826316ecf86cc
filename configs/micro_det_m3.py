# Micro-Blocks in backbone, neck and head, on MicroNet-M3.
_base_ = './_base_/micro_det.py'

model = dict(
    backbone=dict(
        arch='m3', init_cfg=dict(type='Pretrained', checkpoint='checkpoints/micronet_m3.pth', prefix='backbone.')),
    neck=dict(in_channels=[24, 80, 864], out_channels=192),
    bbox_head=dict(in_channels=192))
