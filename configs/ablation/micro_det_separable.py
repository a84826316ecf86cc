# Depthwise separable convolutions in the place of Micro-Blocks, at a width that costs as much.
_base_ = '../demo/micro_det_m3_demo.py'

block = dict(_delete_=True, type='SeparableBlock', kernel_size=5)
model = dict(
    neck=dict(out_channels=52, block=block),
    bbox_head=dict(in_channels=52, block=block))
