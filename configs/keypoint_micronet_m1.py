# COCO keypoints with MicroNet-M1, for small devices; not in the paper.
_base_ = './_base_/keypoint.py'

model = dict(backbone=dict(arch='m1'), head=dict(in_channels=576, widths=(96, 48, 48)))
