# mmdet's YOLOX head, of dense convolutions, with its assignment, on the pyramid of Micro-Blocks.
_base_ = '../demo/micro_det_m3_demo.py'

model = dict(
    type='YOLOX',
    bbox_head=dict(
        _delete_=True,
        type='YOLOXHead',
        num_classes=4,
        in_channels=64,
        feat_channels=40,
        stacked_convs=2,
        norm_cfg=dict(type='BN')),
    train_cfg=dict(_delete_=True, assigner=dict(type='SimOTAAssigner', center_radius=2.5)))
