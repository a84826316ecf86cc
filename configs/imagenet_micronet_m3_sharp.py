# MicroNet-M3# on ImageNet (Table 7; the paper reports 61.3 % top-1 at 20M multiply-adds for widths it did not publish).
_base_ = './imagenet_micronet_m3.py'

model = dict(backbone=dict(arch='m3_sharp'), head=dict(in_channels=576, hidden_channels=736))
