# MicroNet-M0 on Tiny-ImageNet.
_base_ = '../_base_/tiny_imagenet.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m0'),
    head=dict(type='MicroNetClsHead', num_classes=200, in_channels=384, hidden_channels=640, dropout=0.05))
