# MicroNet-M1 on Tiny-ImageNet.
_base_ = '../_base_/tiny_imagenet.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m1'),
    head=dict(type='MicroNetClsHead', num_classes=200, in_channels=576, hidden_channels=960, dropout=0.05))
