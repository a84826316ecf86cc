# ReLU6 instead of Dynamic Shift-Max in the pyramid.
_base_ = '../demo/micro_det_m3_demo.py'

model = dict(neck=dict(block=dict(dynamic=(False, False, False))))
