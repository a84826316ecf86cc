# MobileNetV3-Small as the paper's baseline; a config that builds on it sets the width, and in_channels of the head.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileNetV3Small', width=1.0),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=1000,
        in_channels=576,
        mid_channels=[1024],
        dropout_rate=0.05,
        act_cfg=dict(type='HSwish'),
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        init_cfg=dict(type='Normal', layer='Linear', mean=0.0, std=0.01, bias=0.0),
        topk=(1, 5)))
