# Dynamic Shift-Max in the head too.
_base_ = '../demo/micro_det_m3_demo.py'

model = dict(bbox_head=dict(block=dict(dynamic=(False, True, True), reduction=32)))
