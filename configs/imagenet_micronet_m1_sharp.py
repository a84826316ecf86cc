# MicroNet-M1# on ImageNet (Table 7; the paper reports 49.4 % top-1 at 5M multiply-adds for widths it did not publish).
_base_ = './imagenet_micronet_m1.py'

model = dict(backbone=dict(arch='m1_sharp'), head=dict(in_channels=384, hidden_channels=768))
