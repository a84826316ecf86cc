# mmdet's RTMDet head, of dense convolutions, with its assignment, on the pyramid of Micro-Blocks.
_base_ = '../demo/micro_det_m3_demo.py'

model = dict(
    type='RTMDet',
    bbox_head=dict(
        _delete_=True,
        type='RTMDetSepBNHead',
        num_classes=4,
        in_channels=64,
        feat_channels=40,
        stacked_convs=2,
        share_conv=False,
        exp_on_reg=True,
        with_objectness=False,
        norm_cfg=dict(type='BN'),
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0)),
    train_cfg=dict(assigner=dict(_delete_=True, type='DynamicSoftLabelAssigner', topk=13)))
