# MobileNetV3-Small 1.0x on ImageNet.
_base_ = ['./_base_/imagenet_600e.py', './_base_/mobilenetv3_small.py']  # they share the training setup (section 6.1.2)

model = dict(backbone=dict(width=1.0), head=dict(in_channels=576))
