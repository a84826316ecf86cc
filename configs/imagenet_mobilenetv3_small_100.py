# MobileNetV3-Small 1.0x on ImageNet.
_base_ = './_base_/mobilenetv3_small.py'

model = dict(backbone=dict(width=1.0), head=dict(in_channels=576))
