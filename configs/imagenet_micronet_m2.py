# MicroNet-M2 on ImageNet (Table 7; the paper reports 59.4 % top-1 at 12M multiply-adds).
_base_ = './_base_/imagenet_600e.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m2'),
    head=dict(type='MicroNetClsHead', in_channels=768, hidden_channels=1024, dropout=0.1))
