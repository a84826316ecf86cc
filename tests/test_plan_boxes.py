"""Boxes of plans: the maps of MicroDet's head decoded by the runtime as mmdet and the exporter's graph decode them."""
import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from types import SimpleNamespace

import benchmark_exported
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mm import ROOT
from torch import nn

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('mmdet')

from mmdet.models.dense_heads import GFLHead
from mmdet.models.dense_heads.gfl_head import Integral
from mmdet.models.utils import filter_scores_and_topk
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from test_exporter import built
from test_plan_files import described, run, runnable  # noqa: F401

from micronet_mm.deploy.assemble import assemble
from micronet_mm.deploy.decoding import of_boxes
from micronet_mm.latency.networks import give_statistics
from micronet_mm.models import MicroDetHead
from micronet_runtime import Detector, InputError, Model, PeopleAndPoses, PlanError
from micronet_runtime.boxes import Distributions, expectation, logit, suppress

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::UserWarning',
                                        'ignore::torch.jit.TracerWarning')
CONFIG = ROOT / 'configs' / 'demo' / 'micro_det_m3_demo.py'
CLASSES, REACH, STRIDES, SIZE = 3, 7, (8, 16, 32), (96, 128)
SETTINGS = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100)


def heads(settings_):
    """mmdet's and our own; they decode alike."""
    common = dict(stacked_convs=1, reg_max=REACH, test_cfg=ConfigDict(settings_), anchor_generator=dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=list(STRIDES)))
    return [GFLHead(CLASSES, 8, norm_cfg=dict(type='BN'), **common),
            MicroDetHead(CLASSES, 8, block=dict(type='MicroBlockA', kernel_size=3, expansion=(1, 1)), **common)]


def maps(seed, batch):
    """Class logits no two of which are equal, and distributions that are so sure that every sum is exact."""
    rng = np.random.default_rng(seed)
    grids = [(SIZE[0] // stride, SIZE[1] // stride) for stride in STRIDES]
    shapes = [(batch, CLASSES, *grid) for grid in grids]
    values = rng.permutation(np.linspace(-6, 3, sum(map(np.prod, shapes)), dtype=np.float32))
    logits = [each.reshape(shape) for each, shape in zip(
        np.split(values, np.cumsum([np.prod(shape) for shape in shapes])[:-1]), shapes)]
    distances = [np.eye(REACH + 1, dtype=np.float32)[rng.integers(0, REACH + 1, (batch, 4, *grid))] * 200
                 for grid in grids]
    return logits, [each.transpose(0, 1, 4, 2, 3).reshape(batch, -1, *each.shape[2:4]) for each in distances]


def decoder_of(head, settings_, shapes):
    model = nn.Module()
    model.bbox_head = head
    return Distributions(dict(decoding=of_boxes(model), score_threshold=settings_['score_thr'],
                              max_per_image=settings_['max_per_img']), shapes)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3), nms_pre=st.sampled_from([7, 60, 1000]),
       least=st.sampled_from([-1, 0, 40]), score=st.sampled_from([0.0, 0.05, 0.5, 0.97]),
       iou=st.sampled_from([0.25, 0.5, 0.6, 1.0]), agnostic=st.booleans(), most=st.sampled_from([1, 20, 3000]))
def test_maps_are_decoded_as_mmdet_decodes_them(seed, batch, nms_pre, least, score, iou, agnostic, most):
    """Exactly as many boxes, the same ones, also where an overlap equals the threshold."""
    chosen = dict(nms_pre=nms_pre, min_bbox_size=least, score_thr=score, max_per_img=most,
                  nms=dict(type='nms', iou_threshold=iou, class_agnostic=agnostic))
    logits, distances = maps(seed, batch)
    extents = np.random.default_rng(seed).integers(30, SIZE, (batch, 2))
    metas = [dict(img_shape=tuple(extent)) for extent in extents.tolist()]
    for head in heads(chosen):
        decoder = decoder_of(head, chosen, [each.shape[1:] for each in (*logits, *distances)])
        boxes, scores, labels, images = decoder(lambda _: [*logits, *distances], dict(image=None, extent=extents))
        theirs = head.predict_by_feat(*([torch.from_numpy(each) for each in kind] for kind in (logits, distances)),
                                      batch_img_metas=metas, rescale=False)
        for number, expected in enumerate(theirs):
            here = images == number
            assert np.array_equal(boxes[here], expected.bboxes) and np.array_equal(labels[here], expected.labels)
            np.testing.assert_allclose(scores[here], expected.scores, rtol=1e-5)


@given(seed=st.integers(0, 10**6), bins=st.integers(1, 17), spread=st.sampled_from([0.1, 3, 60]))
def test_distances_are_those_of_mmdet(seed, bins, spread):
    logits = np.random.default_rng(seed).normal(0, spread, (4, bins, 30)).astype(np.float32)
    theirs = Integral(bins - 1)(torch.from_numpy(logits).permute(2, 0, 1).reshape(30, -1))
    np.testing.assert_allclose(expectation(logits).T, theirs, atol=1e-5 * bins)


@given(st.floats(-0.5, 1.5, allow_subnormal=False))
def test_logits_above_the_least_are_scores_above_the_threshold(threshold):
    logits = torch.linspace(-70, 15, 999)
    kept = filter_scores_and_topk(logits[:, None].double().sigmoid(), threshold, 999)[2]
    ours = set(np.flatnonzero(logits.numpy() > logit(threshold)).tolist())
    assert len(ours ^ set(kept.tolist())) <= 1  # one that is the threshold itself


def test_nothing_and_too_much():
    """No candidate, more than are looked at, and values that are none."""
    logits, distances = maps(0, 2)
    decoder = decoder_of(heads(SETTINGS)[1], SETTINGS, [each.shape[1:] for each in (*logits, *distances)])
    feed = dict(image=None, extent=np.array([SIZE, SIZE]))

    def decoded(value):
        return decoder(lambda _: [np.full_like(each, value) for each in (*logits, *distances)], feed)

    for value in (-50, np.nan):
        assert [each.shape for each in decoded(value)] == [(0, 4), (0, ), (0, ), (0, )]
    boxes, scores, _, images = decoded(80)
    assert len(boxes) == 200 and images.tolist() == [0] * 100 + [1] * 100 and (scores == 1).all()
    assert suppress(boxes[:0], scores[:0], images[:0], 0.5, 3).shape == (0, )


def scattered(*sizes):
    rng = np.random.default_rng(2)
    return [cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), size) for size in sizes]


@pytest.fixture(scope='module')
def model():
    """A config and its model, whose scores differ from place to place and with the image."""
    cfg, model = built(CONFIG)
    give_statistics(model, assemble(cfg, 'detection', model, raw=True, inside=False, deploy=False), (96, 128))
    for score, reach in zip(model.bbox_head.gfl_cls, model.bbox_head.gfl_reg):
        nn.init.normal_(score.weight, std=0.2)
        nn.init.constant_(score.bias, -5)
        nn.init.normal_(reach.weight, std=0.2)
    DefaultScope._instance_dict.clear()
    return cfg, model


@pytest.fixture(scope='module')
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp('boxes')
    torch.save(dict(state_dict=model[1].state_dict()), folder / 'det.pth')
    for name in ('det.plan', 'det.onnx'):
        assert run(None, CONFIG, folder / 'det.pth', folder / name, '--size', 96, 128) == ''
    return folder


def assert_same_boxes(ours, theirs):
    assert sum(len(each.boxes) for each in theirs) > 50 and max(len(each.boxes) for each in theirs) < 100
    for mine, other in zip(ours, theirs, strict=True):
        apart = np.abs(mine.boxes[:, None] - other.boxes).max(2) + 1e3 * np.abs(mine.scores[:, None] - other.scores)
        apart[mine.labels[:, None] != other.labels] = np.inf
        # Where an overlap is nearly the threshold or scores are nearly equal, rounding decides.
        assert abs(len(mine.boxes) - len(other.boxes)) <= 2 and (apart.min(1) < 0.1).mean() >= 0.95


OPTIONS = [dict(), dict(batch_size=2), dict(batch_size=5, threads=2)]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_boxes_are_those_of_the_onnx_file(options, exported):
    images = scattered((128, 96), (256, 192), (64, 48), (128, 96), (80, 60))
    theirs = Detector(exported / 'det.onnx', threshold=0.8)
    assert_same_boxes(Detector(exported / 'det.plan', threshold=0.8, **options)(images), theirs(images))


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_boxes_are_those_of_mmdet_whatever_is_padding(options, model, exported):
    trained = assemble(model[0], 'detection', deepcopy(model[1]), deploy=False)
    images = scattered((128, 96), (96, 128), (50, 70), (300, 90), (64, 64))
    theirs = Detector(exported / 'det.plan', threshold=0.8, **options)
    theirs.model.session = SimpleNamespace(run=lambda names, feed: [
        output.numpy() for output in trained(*(torch.from_numpy(feed[name]) for name in ('image', 'extent')))])
    assert_same_boxes(Detector(exported / 'det.plan', threshold=0.8, **options)(images), theirs(images))


def test_a_plan_gives_what_an_onnx_file_gives(exported):
    plan, file = (Model(exported / f'det.{kind}') for kind in ('plan', 'onnx'))
    assert (plan.outputs, plan.takes_extent) == (file.outputs, file.takes_extent) == (
        ['boxes', 'scores', 'labels', 'images'], True)
    image = np.zeros((1, 3, 96, 128), np.float32)
    ours, theirs = (model.run(image, [(50, 60)]) for model in (plan, file))
    assert {name: (value.dtype, value.ndim) for name, value in ours.items()} == {
        name: (value.dtype, value.ndim) for name, value in theirs.items()}


@pytest.mark.parametrize(('name', 'value', 'message'), [
    ('kind', 'anchors', "decoding 'anchors' is none of"), ('strides', [8, 16], 'are not those of 2 levels'),
    ('strides', [8, 16, -1], r'strides are \[8, 16, -1\]'), ('strides', 8, 'TypeError'), ('strides', [], 'strides are'),
    ('iou_threshold', 2, 'iou_threshold is 2'), ('iou_threshold', None, 'TypeError'),
    ('most_per_level', float('inf'), 'OverflowError'), ('least_side', 'none', 'ValueError'),
    ('class_agnostic', 'no', "class_agnostic is 'no'"),
])
def test_a_damaged_decoding_is_one_line(name, value, message, exported, tmp_path):
    damaged = exported / f'damaged_{tmp_path.name}.plan'  # beside the library
    for change in (lambda whole: whole['decoding'].update({name: value}), lambda whole: whole['decoding'].pop(name)):
        damaged.write_bytes(described(exported / 'det.plan', change))
        with pytest.raises(PlanError, match=message) as caught:
            Detector(damaged)
        assert '\n' not in str(caught.value)
        message = rf"says of itself cannot be understood \(KeyError\('{name}'\)\)"


def test_people_and_poses_need_neither_onnxruntime_nor_torch(exported, tmp_path):
    pytest.importorskip('mmpose')
    config = CONFIG.with_name('keypoint_micronet_m0_demo.py')
    _, pose = built(config)
    nn.init.normal_(pose.head.final_layer.weight, std=3)  # flat heatmaps are decoded by rounding
    DefaultScope._instance_dict.clear()
    torch.save(dict(state_dict=pose.state_dict()), tmp_path / 'pose.pth')
    assert run(None, config, tmp_path / 'pose.pth', tmp_path / 'pose.plan') == ''
    (tmp_path / 'pictures').mkdir()
    images = scattered((128, 96), (100, 90))
    for number, image in enumerate(images):
        cv2.imwrite(str(tmp_path / 'pictures' / f'{number}.png'), image)
    code = '''import sys
sys.modules.update(onnxruntime=None, torch=None)
from micronet_runtime.__main__ import main
main([sys.argv[1], 'pose.plan', 'pictures', '--json', 'found.json', '--threshold', '0.8'])'''
    done = subprocess.run([sys.executable, '-c', code, exported / 'det.plan'], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert ' in 2 images' in done.stdout and not done.stderr
    expected = PeopleAndPoses(exported / 'det.plan', tmp_path / 'pose.plan', threshold=0.8)(images)
    found = [each['people'] for each in json.loads((tmp_path / 'found.json').read_text())]
    assert found == [each.to_dict()['people'] for each in expected] and any(found)


def test_maps_are_still_maps(exported, tmp_path):
    assert run(None, CONFIG, exported / 'det.pth', tmp_path / 'raw.plan', '--raw', '--size', 96, 128) == ''
    assert Model(tmp_path / 'raw.plan').run(np.zeros((1, 3, 96, 128), np.float32))['maps0_0'].shape == (1, 4, 12, 16)
    with pytest.raises(InputError, match='and not boxes, scores, labels, images; export it without --raw'):
        Detector(tmp_path / 'raw.plan')


@pytest.mark.parametrize(('option', 'message'), [
    ("model.test_cfg.nms={'type':'soft_nms','iou_threshold':0.6}", 'suppression by .*soft_nms.*, only by nms'),
    ("model.test_cfg.nms={'type':'nms','iou_threshold':0.6,'max_num':9}", 'suppression by .*max_num'),
    ('model.bbox_head.anchor_generator.center_offset=0.5', 'this anchor_generator, only of an AnchorGenerator'),
    ("model.bbox_head.bbox_coder={'type':'DistancePointBBoxCoder','clip_border':False}", 'this bbox_coder, only of'),
])
def test_decodings_of_boxes_that_the_runtime_has_not(option, message, exported, tmp_path):
    out = tmp_path / 'new' / 'a.plan'
    said = run(None, CONFIG, exported / 'det.pth', out, '--size', 96, 128, '--cfg-options', option)
    assert re.fullmatch(rf'error: with a plan there is no decoding of {message}.*; export the maps with --raw, or an '
                        r'ONNX file\.', said)
    assert not out.parent.exists()


def test_the_benchmark_names_files_and_ratios(exported, monkeypatch, capsys, tmp_path):
    """How long anything takes is never asked."""
    cv2.imwrite(str(tmp_path / 'a.png'), scattered((128, 96))[0])
    files = [str(exported / name) for name in ('det.onnx', 'det.plan')]
    monkeypatch.setattr(sys, 'argv', ['benchmark_exported.py', *files, str(tmp_path / 'a.png'), '--rounds', '1'])
    benchmark_exported.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(' | ')[0] for line in lines] == [f'| {file}' for file in files]
    assert lines[0].endswith('| 1.00x |') and re.search(r'\| \d+\.\d\dx \|$', lines[1])
    monkeypatch.setattr(sys, 'argv', ['benchmark_exported.py', 'none.onnx', str(tmp_path / 'a.png')])
    with pytest.raises(SystemExit, match=r'error: the model none\.onnx does not exist'):
        benchmark_exported.main()
