# MobileNetV3-Small 0.2x on Tiny-ImageNet.
_base_ = ['../_base_/tiny_imagenet.py', '../_base_/mobilenetv3_small.py']

model = dict(backbone=dict(width=0.2, divisor=2), head=dict(num_classes=200, in_channels=120))
