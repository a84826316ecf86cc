# MicroNet-M3 on Tiny-ImageNet.
_base_ = '../_base_/tiny_imagenet.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m3'),
    head=dict(type='MicroNetClsHead', num_classes=200, in_channels=864, hidden_channels=1024, dropout=0.1))
