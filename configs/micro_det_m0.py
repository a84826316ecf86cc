# Micro-Blocks in backbone, neck and head, on MicroNet-M0.
_base_ = './_base_/micro_det.py'

model = dict(
    backbone=dict(
        arch='m0', init_cfg=dict(type='Pretrained', checkpoint='checkpoints/micronet_m0.pth', prefix='backbone.')),
    neck=dict(in_channels=[12, 32, 384], out_channels=80),
    bbox_head=dict(in_channels=80))
