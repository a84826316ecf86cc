# Faster R-CNN with MicroNet-M3 (Table 8; the paper reports 26.2 mAP).
_base_ = './_base_/faster_rcnn.py'
