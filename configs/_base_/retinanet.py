# mmdet's RetinaNet with a MicroNet backbone, on COCO for 36 epochs (Table 8).
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './coco_3x.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='MicroNet',
        arch='m3',
        out_indices=(1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/micronet_m3.pth', prefix='backbone.')),
    neck=dict(in_channels=[24, 80, 864], start_level=0))

optim_wrapper = dict(optimizer=dict(lr=0.01))
