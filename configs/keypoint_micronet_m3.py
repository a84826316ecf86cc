# COCO keypoints with MicroNet-M3 (Table 9; the paper reports 58.7 AP at 163.2M multiply-adds).
_base_ = './_base_/keypoint.py'
