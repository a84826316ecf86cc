# MobileNetV3-Small 0.35x on ImageNet (Table 7; the paper reports 49.8 % top-1 at 12M multiply-adds).
_base_ = ['./_base_/imagenet_600e.py', './_base_/mobilenetv3_small.py']  # they share the training setup (section 6.1.2)

model = dict(backbone=dict(width=0.35), head=dict(in_channels=192))
