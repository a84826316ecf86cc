# COCO keypoints with MobileNetV3-Small 1.0x, the baseline of Table 9 (57.1 AP at 726.9M multiply-adds).
_base_ = './_base_/keypoint.py'

model = dict(
    backbone=dict(_delete_=True, type='MobileNetV3Small', out_indices=(11, ), output_stride=16),
    head=dict(type='InvertedResidualHeatmapHead', in_channels=96, widths=(224, 56, 56)))
