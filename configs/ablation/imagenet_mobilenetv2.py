# Table 2: MobileNetV2 at the cost of MicroNet-M2 with ReLU, trained as the paper's ablations, for 300 epochs.
_base_ = '../_base_/imagenet_600e.py'

model = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileNetV2Narrow', width=0.07, depth=0.75),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=1280,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5)))

epochs = 300
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(T_max=epochs, end=epochs)
