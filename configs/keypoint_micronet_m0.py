# COCO keypoints with MicroNet-M0, for the smallest devices; not in the paper.
_base_ = './_base_/keypoint.py'

model = dict(backbone=dict(arch='m0'), head=dict(in_channels=384, widths=(64, 32, 32)))
