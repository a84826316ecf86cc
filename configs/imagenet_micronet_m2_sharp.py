# MicroNet-M2# on ImageNet (Table 7; the paper reports 58.2 % top-1 at 11M multiply-adds for widths it did not publish).
_base_ = './imagenet_micronet_m2.py'

model = dict(backbone=dict(arch='m2_sharp'), head=dict(in_channels=384, hidden_channels=800))
