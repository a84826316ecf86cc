# Faster R-CNN with MobileNetV3-Small 1.0x, the baseline of Table 8.
_base_ = './_base_/faster_rcnn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV3Small',
        out_indices=(1, 3, 8, 12),
        norm_cfg=dict(type='BN', eps=0.001, momentum=0.01, requires_grad=False),
        norm_eval=True,
        # What imagenet_mobilenetv3_small_100.py trains.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/imagenet_mobilenetv3_small_100/epoch_600.pth',
            prefix='backbone.')),
    neck=dict(in_channels=[16, 24, 48, 576]))
