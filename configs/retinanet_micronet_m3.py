# RetinaNet with MicroNet-M3 (Table 8; the paper reports 25.4 mAP).
_base_ = './_base_/retinanet.py'
