# MobileNetV3-Small 0.15x on ImageNet (Table 7; the paper reports 33.7 % top-1 at 4M multiply-adds).
_base_ = ['./_base_/imagenet_600e.py', './_base_/mobilenetv3_small.py']  # they share the training setup (section 6.1.2)

model = dict(backbone=dict(width=0.15, divisor=1), head=dict(in_channels=84))
