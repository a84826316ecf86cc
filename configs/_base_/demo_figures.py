# The generated pictures and a schedule of minutes, for the detectors in ../demo. All under one name, since their other
# base, a recipe, has a train_dataloader and so on of its own.
figures = 'data/figures/'
figure_classes = ('person', 'disc', 'square', 'triangle')
epochs = 5

boxes = dict(type='LoadAnnotations', with_bbox=True)
resize = dict(type='Resize', scale=(160, 160), keep_ratio=True)
in_process = dict(num_workers=0, persistent_workers=False)

demo = dict(
    train_dataloader=dict(
        batch_size=8,
        batch_sampler=None,
        dataset=dict(
            data_root=figures,
            ann_file='annotations/train.json',
            data_prefix=dict(img='train/'),
            metainfo=dict(classes=figure_classes),
            pipeline=[
                dict(type='LoadImageOrSkip'), boxes, resize,
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ]),
        **in_process),
    val_dataloader=dict(
        batch_size=16,
        dataset=dict(
            data_root=figures,
            ann_file='annotations/val.json',
            data_prefix=dict(img='val/'),
            metainfo=dict(classes=figure_classes),
            pipeline=[
                dict(type='LoadImageFromFile'), resize, boxes,
                dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
            ]),
        **in_process),
    val_evaluator=dict(ann_file=figures + 'annotations/val.json'),
    train_cfg=dict(max_epochs=epochs, val_interval=2),
    optim_wrapper=dict(
        optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=0.05), clip_grad=dict(max_norm=10)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
        dict(
            type='CosineAnnealingLR', by_epoch=True, begin=0, end=epochs, eta_min=3e-5, convert_to_iter_based=True),
    ],
    default_hooks=dict(
        logger=dict(interval=20),
        checkpoint=dict(max_keep_ckpts=1),
        visualization=dict(draw=True, interval=1, score_thr=0.4)))
