# mmdet's Faster R-CNN with a MicroNet backbone, on COCO for 36 epochs (Table 8).
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', './coco_3x.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='MicroNet',
        arch='m3',
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/micronet_m3.pth', prefix='backbone.')),
    neck=dict(in_channels=[16, 24, 80, 864]))
