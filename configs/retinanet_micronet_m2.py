# RetinaNet with MicroNet-M2.
_base_ = './_base_/retinanet.py'

model = dict(
    backbone=dict(arch='m2', init_cfg=dict(checkpoint='checkpoints/micronet_m2.pth')),
    neck=dict(in_channels=[24, 64, 768]))
