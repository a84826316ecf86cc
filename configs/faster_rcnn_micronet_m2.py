# Faster R-CNN with MicroNet-M2 (Table 8; the paper reports 22.7 mAP).
_base_ = './_base_/faster_rcnn.py'

model = dict(
    backbone=dict(arch='m2', init_cfg=dict(checkpoint='checkpoints/micronet_m2.pth')),
    neck=dict(in_channels=[12, 24, 64, 768]))
