# MicroNet-M2 on Tiny-ImageNet.
_base_ = '../_base_/tiny_imagenet.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m2'),
    head=dict(type='MicroNetClsHead', num_classes=200, in_channels=768, hidden_channels=1024, dropout=0.1))
