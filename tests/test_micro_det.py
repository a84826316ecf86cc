"""Detectors of Micro-Blocks: what they cost, compute and survive."""
import json
import math
import re

import ablate_detector
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mm import ROOT, call, write_config
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.utils import get_installed_path
from released import normal
from test_deploy import unsettled
from test_detectors import train_and_predict
from test_recipes import RGB, ROBUST, part, recipe
from toy import ENV, assert_same_training_state

from micronet_mm.analysis.from_config import count_config
from micronet_mm.datasets import write_figures
from micronet_mm.deploy import switch_to_deploy
from micronet_mm.layers import DynamicShiftMax
from micronet_mm.models import MicroNet, MicroPAFPN, SeparableBlock

pytest.importorskip('mmdet')

DEMO = ROOT / 'configs' / 'demo' / 'micro_det_m3_demo.py'


@pytest.fixture(autouse=True)
def mmdet_scope():
    init_default_scope('mmdet')


BLOCK = dict(type='MicroBlockA', kernel_size=5, reduction=32)
# The most multiply-adds, in millions, and the widths of the backbone's maps.
SHIPPED = {
    'micro_det_m0': (120, (12, 32, 384)),
    'micro_det_m1': (120, (16, 32, 576)),
    'micro_det_m2': (180, (24, 64, 768)),
    'micro_det_m3': (300, (24, 80, 864)),
    'micro_det_m3_416': (523, (24, 80, 864)),
    'micro_det_m0_person': (120, (12, 32, 384)),
    'micro_det_m3_person': (300, (24, 80, 864)),
}


def shipped(name):
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    cfg.model.backbone.init_cfg = None
    return cfg


def test_all_are_here():
    assert {path.stem for path in (ROOT / 'configs').glob('micro_det_*.py')} == set(SHIPPED)


@pytest.mark.parametrize('name', SHIPPED)
def test_cost(name):
    most, widths = SHIPPED[name]
    size = 416 if '416' in name else 320
    cfg = shipped(name)
    assert count_config(cfg, (size, size)).total.madds <= most * 1e6
    assert MicroNet(**{k: v for k, v in cfg.model.backbone.items() if k not in ('type', 'init_cfg')}
                    ).out_channels == widths


def test_a_fiftieth_of_retinanet():
    retinanet = shipped('retinanet_micronet_m3')
    assert count_config(shipped('micro_det_m3'), (320, 320)).total.madds * 50 <= count_config(
        retinanet, (320, 320)).total.madds


def test_people_and_their_poses_take_less_than_half_a_billion():
    pytest.importorskip('mmpose')
    people = count_config(shipped('micro_det_m3_person'), (320, 320)).total.madds
    assert people + count_config(shipped('keypoint_micronet_m3')).total.madds < 0.5e9


@pytest.mark.parametrize('name', SHIPPED)
def test_recipe(name):
    """It follows that of NanoDet-Plus at 320 x 320."""
    cfg, train, test = recipe(name)
    size = (416, 416) if '416' in name else (320, 320)
    square = dict(type='Resize', scale=size, keep_ratio=False)
    assert train == [
        dict(type='LoadImageOrSkip'),
        dict(type='LoadAnnotations', with_bbox=True),
        square,
        dict(type='RandomAffine', scaling_ratio_range=(0.6, 1.4), max_translate_ratio=0.2, max_rotate_degree=0,
             max_shear_degree=0, border_val=(0, 0, 0)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion', brightness_delta=51, contrast_range=(0.6, 1.4), saturation_range=(0.5, 1.2),
             hue_delta=0),
        dict(type='PackDetInputs'),
    ]
    assert test[1] == square and [step['type'] for step in test] == [
        'LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackDetInputs']
    assert cfg['optim_wrapper'] == dict(type='OptimWrapper', clip_grad=dict(max_norm=35),
                                        optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.05))
    part(cfg['train_dataloader'], batch_size=96)
    part(cfg['auto_scale_lr'], base_batch_size=96)
    part(cfg['train_cfg'], max_epochs=300, val_interval=10)
    assert cfg['param_scheduler'] == [
        dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=500),
        dict(type='CosineAnnealingLR', begin=0, end=300, T_max=300, eta_min=5e-5, by_epoch=True),
    ]
    average = dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True)
    assert cfg['custom_hooks'] == [average, *ROBUST, dict(type='NumClassCheckHook')]
    part(cfg['default_hooks']['checkpoint'], type='SafeCheckpointHook', interval=10, save_best='auto')
    part(cfg['model']['data_preprocessor'], bgr_to_rgb=True, **RGB)
    classes = cfg['train_dataloader']['dataset'].get('metainfo', {}).get('classes')
    assert (cfg['model']['bbox_head']['num_classes'], classes) == (
        (1, ('person', )) if name.endswith('person') else (80, None))
    assert cfg['val_dataloader']['dataset'].get('metainfo', {}).get('classes') == classes


@pytest.mark.parametrize('name', SHIPPED)
def test_a_head_can_say_what_a_place_in_the_middle_reaches(name):
    """And somewhat more, for places are not quite in the middle."""
    head = shipped(name).model.bbox_head
    size = 416 if '416' in name else 320
    assert head.reg_max * head.anchor_generator.strides[-1] >= 0.7 * size


@pytest.mark.parametrize('name', ['micro_det_m0', 'micro_det_m3_person'])
def test_trains_and_predicts(name):
    train_and_predict(shipped(name))


@given(height=st.integers(1, 90), width=st.integers(1, 90), levels=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_maps_of_any_size(height, width, levels):
    """Each is half the one before, rounded up, as a backbone makes them."""
    sizes = [(math.ceil(height / 2**i), math.ceil(width / 2**i)) for i in range(levels)]
    neck = MicroPAFPN([8 * 2**i for i in range(levels)], 16, BLOCK, expansions=[(1, 2)] * levels).eval()
    maps = neck([torch.rand(1, 8 * 2**i, *size) for i, size in enumerate(sizes)])
    assert [each.shape for each in maps] == [(1, 16, *size) for size in sizes]


def test_every_map_is_seen_from_every_level():
    neck = MicroPAFPN((8, 16, 32), 16, BLOCK).double().eval()
    feats = [normal(i, 1, 8 * 2**i, 16 // 2**i, 16 // 2**i).double().requires_grad_() for i in range(3)]
    for each in neck(feats):
        for gradient in torch.autograd.grad(each.square().sum(), feats, retain_graph=True):
            assert gradient.abs().sum() > 0


def test_as_many_expansions_as_maps():
    with pytest.raises(ValueError, match=r'^MicroPAFPN needs an expansion for each map; got 3 expansions for 2'):
        MicroPAFPN((8, 16), 16, BLOCK)


def test_as_many_maps_as_are_read():
    with pytest.raises(ValueError, match=r'^MicroPAFPN reads 3 maps, as in_channels=\(8, 8, 8\) says; got 2\.$'):
        MicroPAFPN((8, 8, 8), 16, BLOCK)([torch.rand(1, 8, 4, 4), torch.rand(1, 8, 2, 2)])


def head(**settings):
    cfg = shipped('micro_det_m3').model.bbox_head.to_dict()
    head = MODELS.build({**cfg, 'num_classes': 3, 'in_channels': 16, **settings})
    head.init_weights()
    return head


def test_untrained_it_finds_nothing():
    """No score is above a tenth, and boxes are some strides large, on noise and on flat pictures."""
    model = MODELS.build(shipped('micro_det_m3').model)
    model.init_weights()
    model.eval()
    for image in (normal(1, 1, 3, 320, 320), torch.zeros(1, 3, 320, 320)):
        scores, extents = model.bbox_head(model.extract_feat(image))
        assert all(score.sigmoid().max() < 0.1 for score in scores)
        for extent in extents:
            strides = model.bbox_head.integral(extent.permute(0, 2, 3, 1))
            assert strides.min() > 2 and strides.max() < 5


@pytest.mark.parametrize(('block', 'message'), [
    (dict(BLOCK, stride=2), r"has stride=2, which neck and head give each block themselves: leave stride out of it\.$"),
    (dict(BLOCK, in_channels=8, out_channels=8), r'has in_channels=8 and out_channels=8, which .* leave in_channels'),
])
def test_widths_and_strides_of_a_block_are_not_the_config_s(block, message):
    for build in (lambda: head(block=block), lambda: MicroPAFPN((8, 16, 32), 16, block)):
        with pytest.raises(ValueError, match=message):
            build()


def test_what_a_head_would_leave_aside_is_refused():
    with pytest.raises(ValueError, match=r"^MicroDetHead has conv_cfg=\{'type': 'DCNv2'\}, but block defines its"):
        head(conv_cfg=dict(type='DCNv2'))
    with pytest.raises(ValueError, match=r'^MicroDetHead reads 3 maps, .* got 4: give it a stride for each map\.$'):
        head()([torch.rand(1, 16, 4, 4)] * 4)


def test_levels_have_statistics_of_their_own():
    net = head().train()
    net([torch.full((2, 16, 4, 4), float(level)) + torch.rand(2, 16, 4, 4) for level in range(3)])
    means = [next(m for m in level.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_mean
             for level in net.blocks]
    assert not torch.allclose(means[0], means[1]) and not torch.allclose(means[1], means[2])


@pytest.mark.parametrize('block', [
    dict(BLOCK),
    dict(type='MicroBlockB', kernel_size=3, expansion=(1, 2)),
    dict(type='SeparableBlock', kernel_size=5),
], ids=lambda block: block['type'])
def test_any_block_takes_the_place(block):
    net = head(block=block).train()
    scores, extents = net([normal(i, 2, 16, size, size) for i, size in enumerate((8, 4, 2))])
    assert [tuple(s.shape) for s in scores] == [(2, 3, 8, 8), (2, 3, 4, 4), (2, 3, 2, 2)]
    assert [tuple(e.shape) for e in extents] == [(2, 32, 8, 8), (2, 32, 4, 4), (2, 32, 2, 2)]
    sum(each.square().mean() for each in (*scores, *extents)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_a_separable_block_has_the_shape_of_a_micro_block():
    x = torch.rand(1, 8, 9, 6)
    for stride in (1, 2):
        theirs = MODELS.build(dict(type='MicroBlockA', in_channels=8, out_channels=12, kernel_size=5, stride=stride))
        assert SeparableBlock(8, 12, 5, stride).eval()(x).shape == theirs.eval()(x).shape
    with pytest.raises(ValueError, match=r'^kernel_size=4 of SeparableBlock must be an odd'):
        SeparableBlock(8, 12, 4)


def maps(model, image):
    """All that the head predicts, level by level."""
    scores, extents = model.bbox_head(model.extract_feat(image))
    return [*scores, *extents]


def test_deploy_form_is_the_same_function():
    model = unsettled(MODELS.build(shipped('micro_det_m0').model)).eval()
    image = normal(1, 1, 3, 96, 128)
    with torch.no_grad():
        before = maps(model, image)
        model.neck.switch_to_deploy()
        model.bbox_head.switch_to_deploy()
        switch_to_deploy(model)
        after = maps(model, image)
    for theirs, ours in zip(before, after):
        assert (theirs - ours).abs().max() <= 1e-4 * theirs.abs().max()
    assert not any(isinstance(module, (torch.nn.BatchNorm2d, DynamicShiftMax)) for module in model.modules())


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=8, num_val=2)
    return root


NARROW = '''
model = dict(
    backbone=dict(arch='m0'), neck=dict(in_channels=[12, 32, 384], out_channels=16),
    bbox_head=dict(in_channels=16), test_cfg=dict(score_thr=0.0))
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3), visualization=dict(draw=False))
custom_hooks = [_base_.averaging, *_base_.custom_hooks]
'''
STOP = "custom_imports = dict(imports=['toy', 'micronet_mm'])\ncustom_hooks += [" \
       "dict(type='SignalHook', number='SIGTERM', at=2)]\n"


def test_training_goes_on_where_it_was_stopped(data, tmp_path):
    """With averaged weights, and in bf16: the same weights at the end as without the break."""
    whole = write_config(tmp_path / 'whole.py', data, NARROW, base=DEMO)
    stopped = write_config(tmp_path / 'stopped.py', data, NARROW + STOP, base=DEMO)
    train = ROOT / 'tools' / 'train.py'
    run = call(train, whole, '--amp', 'bf16', cwd=tmp_path)
    assert run.returncode == 0 and 'coco/bbox_mAP_50' in run.stdout, run.stdout[-2000:]
    run = call(train, stopped, '--amp', 'bf16', '--work-dir', 'broken', cwd=tmp_path, env=ENV)
    assert run.returncode == 143, run.stdout[-2000:]
    run = call(train, whole, '--amp', 'bf16', '--work-dir', 'broken', '--resume', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert_same_training_state(tmp_path / 'work_dirs' / 'whole' / 'epoch_2.pth', tmp_path / 'broken' / 'epoch_2.pth')


@pytest.mark.slow
def test_our_tool_and_mmdet_s_evaluate_averaged_weights(data, tmp_path):
    config = write_config(tmp_path / 'narrow.py', data, NARROW, base=DEMO)
    assert call(ROOT / 'tools' / 'train.py', config, cwd=tmp_path).returncode == 0
    checkpoint = tmp_path / 'work_dirs' / 'narrow' / 'epoch_2.pth'
    theirs = get_installed_path('mmdet') + '/.mim/tools/test.py'
    ours = ROOT / 'tools' / 'test.py'
    for tool, option in ((ours, ['--deploy']), (ours, ['--engine', 'native-bfloat16']), (theirs, [])):
        run = call(tool, config, checkpoint, *option, cwd=tmp_path)
        assert run.returncode == 0 and 'coco/bbox_mAP_50' in run.stdout, run.stdout[-2000:]


def test_inferencers_take_it(tmp_path):
    """mmdet's, and ours for people and their poses, with what an untrained detector takes for people."""
    pytest.importorskip('mmpose')
    from mmdet.apis import DetInferencer

    from micronet_mm.apis import find_poses
    model = MODELS.build(shipped('micro_det_m0_person').model)
    model.init_weights()
    meta = dict(dataset_meta=dict(classes=('person', )))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'd.pth')
    detector = str(ROOT / 'configs' / 'micro_det_m0_person.py'), str(tmp_path / 'd.pth')
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    init_default_scope('mmpose')
    pose = ROOT / 'configs' / 'keypoint_micronet_m0.py'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(pose).model).state_dict()), tmp_path / 'p.pth')
    DefaultScope._instance_dict.clear()
    found, = DetInferencer(*detector, device='cpu', show_progress=False)(image)['predictions']
    assert set(found['labels']) <= {0} and all(0 <= x <= 120 for box in found['bboxes'] for x in box[::2])
    people, = find_poses(image, *detector, str(pose), str(tmp_path / 'p.pth'), box_threshold=1e-3)
    assert all(len(person['keypoints']) == 17 for person in people['people'])


def test_the_ablation_exchanges_one_thing_at_a_time():
    demo = ablate_detector.config('demo/micro_det_m3_demo', epochs=2, seed=1)
    assert (demo.train_cfg.max_epochs, demo.param_scheduler[1].end, demo.randomness.seed) == (2, 2, 1)
    for name in [name for table in ('blocks', 'heads') for name in ablate_detector.TABLES[table]]:
        cfg = ablate_detector.config(name, epochs=2, seed=1)
        assert cfg.model.backbone == demo.model.backbone and cfg.model.test_cfg == demo.model.test_cfg
        assert (cfg.model.neck == demo.model.neck) != (cfg.model.bbox_head == demo.model.bbox_head) or (
            name in ('demo/micro_det_m3_demo', 'ablation/micro_det_separable'))
        assert (cfg.val_dataloader, cfg.val_evaluator) == (demo.val_dataloader, demo.val_evaluator)
        assert (cfg.train_dataloader, cfg.optim_wrapper, cfg.param_scheduler, cfg.custom_hooks) == (
            demo.train_dataloader, demo.optim_wrapper, demo.param_scheduler, demo.custom_hooks)
    running = ablate_detector.config('ablation/micro_det_running_statistics', epochs=2, seed=1)
    assert demo.custom_hooks.pop(0) == dict(type='FreezeNormHook', begin=0.8) and running.to_dict() == demo.to_dict()
    cost, separable = (count_config(ablate_detector.config(name, 2, 0), (160, 160)).total.madds
                       for name in ('demo/micro_det_m3_demo', 'ablation/micro_det_separable'))
    assert cost <= separable < 1.02 * cost


@pytest.mark.slow
def test_200_iterations_of_the_recipe_under_bf16(tmp_path):
    """From scratch, at the recipe's learning rate after a warm-up of 50, with 8 pictures instead of 96."""
    write_figures(tmp_path / 'data' / 'figures', num_train=1600, num_val=16)
    (tmp_path / 'recipe.py').write_text(f'''
_base_ = {str(DEMO)!r}
optim_wrapper = dict(optimizer=dict(lr=0.001), clip_grad=dict(max_norm=35))
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1), visualization=dict(draw=False))
''')
    run = call(ROOT / 'tools' / 'train.py', 'recipe.py', '--amp', 'bf16', '--work-dir', 'w', cwd=tmp_path, timeout=900)
    assert run.returncode == 0, run.stdout[-2000:]
    scalars, = (tmp_path / 'w').glob('*/vis_data/scalars.json')
    losses = [record['loss'] for record in map(json.loads, scalars.read_text().splitlines()) if 'loss' in record]
    assert len(losses) == 200 and all(map(math.isfinite, losses))
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_the_docs_name_the_costs():
    text = (ROOT / 'docs' / 'micro_det.md').read_text()
    for name in SHIPPED:
        size = 416 if '416' in name else 320
        total = count_config(shipped(name), (size, size)).total
        row = re.search(rf'^\| `{name}` .*$', text, re.M).group()
        assert f'{total.madds / 1e6:.1f}M' in row and f'{total.params:,}' in row
