# MicroNet-M3 on ImageNet (Table 7; the paper reports 62.5 % top-1 at 21M multiply-adds).
_base_ = './_base_/imagenet_600e.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MicroNet', arch='m3'),
    head=dict(type='MicroNetClsHead', in_channels=864, hidden_channels=1024, dropout=0.1))

optim_wrapper = dict(optimizer=dict(weight_decay=4e-5))
# M3 alone warms up, from (almost) 0 over 5 epochs.
warmup = 5
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=_base_.epochs - warmup,
        by_epoch=True,
        begin=warmup,
        end=_base_.epochs,
        convert_to_iter_based=True),
]
