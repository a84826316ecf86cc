# MicroNet-M1 on ImageNet (Table 7; the paper reports 51.4 % top-1 at 6M multiply-adds).
_base_ = './_base_/imagenet_600e.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m1'),
    head=dict(type='MicroNetClsHead', in_channels=576, hidden_channels=960, dropout=0.05))
