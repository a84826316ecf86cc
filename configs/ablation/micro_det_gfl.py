# mmdet's GFL head, of dense convolutions, on the pyramid of Micro-Blocks.
_base_ = '../demo/micro_det_m3_demo.py'

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='GFLHead',
        num_classes=4,
        in_channels=64,
        feat_channels=40,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
        reg_max=7,
        anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=[8, 16, 32]),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0)))
