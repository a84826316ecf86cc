# MicroNet-M0 on ImageNet (Table 7; the paper reports 46.6 % top-1 at 4M multiply-adds).
_base_ = './_base_/imagenet_600e.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m0'),
    head=dict(type='MicroNetClsHead', in_channels=384, hidden_channels=640, dropout=0.05))
