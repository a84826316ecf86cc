# MobileNetV3-Small 0.2x on ImageNet (Table 7; the paper reports 41.1 % top-1 at 6M multiply-adds).
_base_ = ['./_base_/imagenet_600e.py', './_base_/mobilenetv3_small.py']  # they share the training setup (section 6.1.2)

model = dict(backbone=dict(width=0.2, divisor=2), head=dict(in_channels=120))
