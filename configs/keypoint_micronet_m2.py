# COCO keypoints with MicroNet-M2 (Table 9; the paper reports 54.9 AP at 116.8M multiply-adds).
_base_ = './_base_/keypoint.py'

model = dict(backbone=dict(arch='m2'), head=dict(in_channels=768, widths=(176, 72, 72)))
