"""The configs are the recipes of the paper and of what it refers to, whole: nothing in them can change unnoticed."""
import pytest
from mm import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS

CONFIGS = ROOT / 'configs'
ROBUST = [
    dict(type='EpochSeedHook'),
    dict(type='ResumeConfigHook'),
    dict(type='LastBatchHook'),
    dict(type='PreemptionHook'),
    dict(type='InvalidLossHook'),
    dict(type='WarmUpHook'),
    dict(type='BrokenImageHook', max_share=0.01),
]
RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def unscoped(node):
    """Plain dicts and lists without MMEngine's notes of which package a setting was inherited from."""
    if isinstance(node, dict):
        return {key: unscoped(value) for key, value in node.items() if key != '_scope_'}
    return type(node)(map(unscoped, node)) if isinstance(node, (list, tuple)) else node


def recipe(name):
    """A config, and its training and test pipelines."""
    cfg = unscoped(Config.fromfile(CONFIGS / f'{name}.py').to_dict())
    assert cfg['test_dataloader'] == cfg['val_dataloader'] and cfg['test_evaluator'] == cfg['val_evaluator']
    return cfg, *(cfg[f'{phase}_dataloader']['dataset']['pipeline'] for phase in ('train', 'val'))


def part(cfg, **expected):
    """Assert that a dict has these values."""
    assert {key: cfg.get(key) for key in expected} == expected


@pytest.mark.parametrize(('arch', 'decay', 'dropout', 'warmup'), [
    ('m0', 3e-5, 0.05, False), ('m1', 3e-5, 0.05, False), ('m2', 3e-5, 0.1, False), ('m3', 4e-5, 0.1, True),
])
def test_imagenet(arch, decay, dropout, warmup):
    pytest.importorskip('mmpretrain')
    cfg, train, test = recipe(f'imagenet_micronet_{arch}')
    assert train == [
        dict(type='LoadImageOrSkip'),
        dict(type='RandomResizedCrop', scale=224),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='PackInputs'),
    ]
    assert test == [
        dict(type='LoadImageOrSkip', skip=False),
        dict(type='ResizeEdge', scale=256, edge='short'),
        dict(type='CenterCrop', crop_size=224),
        dict(type='PackInputs'),
    ]
    part(cfg['data_preprocessor'], num_classes=1000, to_rgb=True, **RGB)
    part(cfg['train_dataloader'], batch_size=64, sampler=dict(type='DefaultSampler', shuffle=True))
    assert cfg['auto_scale_lr'] == dict(enable=True, base_batch_size=512)
    part(cfg['train_cfg'], max_epochs=600)
    part(cfg['optim_wrapper']['optimizer'], type='SGD', lr=0.2, momentum=0.9, weight_decay=decay)
    schedule = cfg['param_scheduler'] if warmup else [cfg['param_scheduler']]
    part(schedule[-1], type='CosineAnnealingLR', T_max=595 if warmup else 600, begin=5 if warmup else 0, end=600,
         by_epoch=True, convert_to_iter_based=True)
    assert 'eta_min' not in schedule[-1]  # to 0
    assert schedule[:-1] == ([dict(type='LinearLR', start_factor=1e-5, by_epoch=True, begin=0, end=5,
                                   convert_to_iter_based=True)] if warmup else [])
    assert cfg['val_evaluator'] == dict(type='Accuracy', topk=(1, 5))
    assert cfg['custom_hooks'] == ROBUST
    model = cfg['model']
    backbone = MODELS.build(dict(model['backbone']))
    part(model, type='ImageClassifier', backbone=dict(type='MicroNet', arch=arch))
    part(model['head'], type='MicroNetClsHead', in_channels=backbone.out_channels[-1], dropout=dropout,
         hidden_channels=dict(m0=640, m1=960, m2=1024, m3=1024)[arch])


def test_tiny_imagenet_is_one_recipe_for_all_networks():
    pytest.importorskip('mmpretrain')
    names = [*(f'micronet_m{number}' for number in range(4)),
             *(f'mobilenetv3_small_{width}' for width in ('015', '020', '035', '050'))]
    recipes = {name: recipe(f'trained/tiny_imagenet_{name}') for name in names}
    cfg, train, test = recipes['micronet_m0']
    assert [step.get('scale') for step in train] == [None, 64, None, None]
    assert test[1] == dict(type='Resize', scale=(128, 128))
    later = cfg['custom_hooks'][-1]['schedule']
    assert [(each['action_epoch'], each['train_pipeline'][1]['scale']) for each in later] == [(11, 96), (19, 128)]
    assert cfg['custom_hooks'][:-1] == ROBUST
    part(cfg['train_cfg'], max_epochs=24)
    part(cfg['optim_wrapper']['optimizer'], type='SGD', lr=0.3, momentum=0.9, nesterov=True, weight_decay=3e-5)
    for name, (other, *_) in recipes.items():
        network, imagenet = other.pop('model'), unscoped(Config.fromfile(CONFIGS / f'imagenet_{name}.py').to_dict())
        assert network['backbone'] == imagenet['model']['backbone']
        assert network['head'] == dict(imagenet['model']['head'], num_classes=200)
        assert other == cfg


@pytest.mark.parametrize(('name', 'lr', 'widths'), [
    ('retinanet_micronet_m3', 0.01, (24, 80, 864)),
    ('retinanet_micronet_m2', 0.01, (24, 64, 768)),
    ('faster_rcnn_micronet_m3', 0.02, (16, 24, 80, 864)),
    ('faster_rcnn_micronet_m2', 0.02, (12, 24, 64, 768)),
])
def test_detection(name, lr, widths):
    pytest.importorskip('mmdet')
    cfg, train, test = recipe(name)
    assert train == [
        dict(type='LoadImageOrSkip'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomChoiceResize', keep_ratio=True, scales=[(1333, s) for s in (640, 672, 704, 736, 768, 800)]),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]
    part(test[1], type='Resize', scale=(1333, 800), keep_ratio=True)
    part(cfg['train_dataloader'], batch_size=2, sampler=dict(type='DefaultSampler', shuffle=True))
    part(cfg['auto_scale_lr'], base_batch_size=16)
    part(cfg['train_cfg'], max_epochs=36)
    assert cfg['optim_wrapper'] == dict(
        type='OptimWrapper', optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=1e-4))
    assert cfg['param_scheduler'] == [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
        dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[28, 33], gamma=0.1),
    ]
    assert cfg['custom_hooks'] == [*ROBUST, dict(type='NumClassCheckHook')]
    part(cfg['default_hooks']['checkpoint'], type='SafeCheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto')
    model = cfg['model']
    part(model['data_preprocessor'], bgr_to_rgb=True, pad_size_divisor=32, **RGB)
    arch = name[-2:]
    assert model['backbone'] == dict(
        type='MicroNet', arch=arch, out_indices=(1, 2, 3) if len(widths) == 3 else (0, 1, 2, 3), norm_eval=True,
        norm_cfg=dict(type='BN', requires_grad=False),
        init_cfg=dict(type='Pretrained', checkpoint=f'checkpoints/micronet_{arch}.pth', prefix='backbone.'))
    part(model['neck'], in_channels=list(widths), out_channels=256, num_outs=5)
    assert MODELS.build(dict(model['backbone'], init_cfg=None)).out_channels == widths


@pytest.mark.parametrize(('name', 'arch', 'in_channels', 'widths'), [
    ('keypoint_micronet_m0', 'm0', 384, (64, 32, 32)),
    ('keypoint_micronet_m1', 'm1', 576, (96, 48, 48)),
    ('keypoint_micronet_m2', 'm2', 768, (176, 72, 72)),
    ('keypoint_micronet_m3', 'm3', 864, (176, 112, 112)),
    ('keypoint_micronet_m3_gt_boxes', 'm3', 864, (176, 112, 112)),
])
def test_keypoints(name, arch, in_channels, widths):
    pytest.importorskip('mmpose')
    cfg, train, test = recipe(name)
    codec = dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
    assert train == [
        dict(type='LoadImageOrSkip'),
        dict(type='GetBBoxCenterScale'),
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='RandomHalfBody'),
        dict(type='RandomBBoxTransform', shift_prob=0, scale_factor=(0.65, 1.35), rotate_factor=90),
        dict(type='TopdownAffine', input_size=(192, 256)),
        dict(type='GenerateTarget', encoder=codec),
        dict(type='PackPoseInputs'),
    ]
    assert test == [
        dict(type='LoadImageOrSkip', skip=False),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=(192, 256)),
        dict(type='PackPoseInputs'),
    ]
    part(cfg['train_dataloader'], batch_size=32, sampler=dict(type='DefaultSampler', shuffle=True))
    assert cfg['auto_scale_lr'] == dict(base_batch_size=128)
    part(cfg['train_cfg'], max_epochs=250, val_interval=10)
    assert cfg['optim_wrapper'] == dict(optimizer=dict(type='Adam', lr=1e-3))
    assert cfg['param_scheduler'] == [
        dict(type='MultiStepLR', by_epoch=True, begin=0, end=250, milestones=[210, 240], gamma=0.1)]
    assert [hook for hook in cfg['custom_hooks'] if hook['type'] != 'SyncBuffersHook'] == [
        *ROBUST, dict(type='NumKeypointsHook')]
    part(cfg['default_hooks']['checkpoint'], type='SafeCheckpointHook', save_best='coco/AP', rule='greater')
    assert cfg['model'] == dict(
        type='TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', bgr_to_rgb=True, **RGB),
        backbone=dict(type='MicroNet', arch=arch, output_stride=16),
        head=dict(type='MicroHeatmapHead', in_channels=in_channels, out_channels=17, widths=widths, decoder=codec,
                  loss=dict(type='KeypointMSELoss', use_target_weight=True)),
        test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True))
    detected = 'data/coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
    part(cfg['val_dataloader']['dataset'], bbox_file=None if name.endswith('gt_boxes') else detected)
