"""Exported files equal PyTorch, decode as MMLab does, and say what they are."""
import json
import sys
from copy import deepcopy
from unittest import mock

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mm import ROOT, call, write_config
from mmengine.config import Config
from mmengine.registry import DefaultScope
from released import normal
from test_deploy import unsettled
from torch import nn

import micronet_runtime
from micronet_mm.analysis.from_config import build_model
from micronet_mm.commands import export as export_tool
from micronet_mm.datasets import write_figures
from micronet_mm.deploy import metadata as contract
from micronet_mm.deploy.assemble import assemble, default_size
from micronet_mm.deploy.comparison import compare_with
from micronet_mm.deploy.export import compare, label, open_session, to_onnx
from micronet_mm.deploy.parity_inputs import examples, real_image
from micronet_mm.engine.checks.paths import find_dicts
from micronet_mm.engine.cli import read_config

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::UserWarning',
                                        'ignore::torch.jit.TracerWarning')
CONFIGS = ROOT / 'configs'
DETECTORS = ['retinanet_micronet_m3_demo', 'faster_rcnn_micronet_m3_demo', 'micro_det_m3_demo']


def built(path, **changes):
    """A config and its model, with weights that are not the initial ones."""
    cfg = read_config(str(path))
    cfg.merge_from_dict(changes)
    for part in find_dicts(cfg.model, 'init_cfg'):
        part.init_cfg = None
    torch.manual_seed(0)
    model = unsettled(build_model(cfg))
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and ('head' in name or 'neck' in name):
            nn.init.xavier_normal_(parameter)
    return cfg, model


def exported(cfg, model, task, size, batch=1, open_size=False, open_batch=False, raw=False, inside=True):
    """The file's content, compared with the trained form; and how far it was."""
    description = contract.describe(cfg, task, model, None if open_size else size, None if open_batch else batch,
                                    inside, '0', raw)
    trained = assemble(cfg, task, deepcopy(model), raw, inside, deploy=False)
    graph = to_onnx(assemble(cfg, task, deepcopy(model), raw, inside), size, batch, open_size, open_batch)
    label(graph, description)
    content = graph.SerializeToString()
    return content, compare(content, trained, examples(real_image(), description, size, batch, open_size, open_batch))


@pytest.mark.parametrize('arch', ['m0', 'm3'])
@pytest.mark.parametrize('inside', [True, False])
def test_released_classifiers_at_any_size_and_number(arch, inside, converted):
    """On the released outputs' own input: with these weights MicroNet-M0 makes millions of other noise."""
    pytest.importorskip('mmpretrain')
    cfg, model = built(CONFIGS / f'imagenet_micronet_{arch}.py')
    model.load_state_dict(torch.load(converted[arch])['state_dict'])
    trained = assemble(cfg, 'classification', deepcopy(model), raw=True, inside=inside, deploy=False)
    graph = to_onnx(assemble(cfg, 'classification', model, True, inside), (224, 224), open_size=True, open_batch=True)
    images = [normal(1, 2, 3, 224, 224), normal(1, 1, 3, 160, 192), normal(1, 3, 3, 97, 131)]
    if inside:
        mean, std, _ = contract.normalization(cfg)
        images = [image * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1) for image in images]
    assert compare(graph.SerializeToString(), trained, images) < 1e-4
    assert not {node.op_type for node in graph.graph.node} & {'BatchNormalization', 'InstanceNormalization'}


def test_a_backbone_gives_its_maps():
    pytest.importorskip('mmdet')
    cfg, model = built(CONFIGS / 'demo' / 'retinanet_micronet_m3_demo.py')
    content, _ = exported(cfg, model, 'features', (96, 64), open_size=True)
    session = open_session(content)
    assert [output.name for output in session.get_outputs()] == ['stage1', 'stage2', 'stage3']
    maps = session.run(None, {'image': np.zeros((1, 3, 64, 128), np.float32)})
    assert [each.shape for each in maps] == [(1, 24, 8, 16), (1, 80, 4, 8), (1, 864, 2, 4)]


@pytest.mark.parametrize(('name', 'options'), [
    ('retinanet_micronet_m3_demo', dict(open_size=True)),
    ('retinanet_micronet_m3_demo', dict(batch=2, inside=False)),
    ('retinanet_micronet_m3_demo', dict(raw=True, open_size=True, open_batch=True)),
    ('faster_rcnn_micronet_m3_demo', dict(open_size=True)),
    ('micro_det_m3_demo', dict(open_size=True)),
    ('micro_det_m3_demo', dict(raw=True, batch=2)),
], ids=str)
def test_detectors(name, options):
    pytest.importorskip('mmdet')
    cfg, model = built(CONFIGS / 'demo' / f'{name}.py')
    exported(cfg, model, 'detection', (96, 128), **options)


@pytest.mark.parametrize('name', DETECTORS)
def test_boxes_are_those_of_mmdet(name):
    pytest.importorskip('mmdet')
    from mmdet.structures import DetDataSample

    from micronet_mm.deploy.detection import DetectorBoxes
    _, model = built(CONFIGS / 'demo' / f'{name}.py')
    image = torch.rand(1 if name.startswith('micro') else 2, 3, 96, 128) * 4 - 2  # GFL decodes an image in parts
    meta = dict(img_shape=(96, 128), ori_shape=(96, 128), batch_input_shape=(96, 128), scale_factor=(1.0, 1.0))
    extents = torch.tensor([[80, 100], [96, 128]])[:len(image)]  # without padding
    samples = [DetDataSample(metainfo={**meta, 'img_shape': tuple(extent)}) for extent in extents.tolist()]
    with torch.no_grad():
        theirs = model.predict(image, samples, rescale=False)
        boxes, scores, labels, images = DetectorBoxes(model)(image, extents)
    for number, sample in enumerate(theirs):
        found = sample.pred_instances
        mine = images == number
        assert len(found) == mine.sum() > 3
        torch.testing.assert_close(boxes[mine], found.bboxes)
        torch.testing.assert_close(scores[mine], found.scores)
        assert torch.equal(labels[mine], found.labels)


@pytest.mark.parametrize('name', DETECTORS)
def test_a_file_traced_where_nothing_is_found_finds_boxes(name):
    pytest.importorskip('mmdet')
    cfg, model = built(CONFIGS / 'demo' / f'{name}.py')
    whole = assemble(cfg, 'detection', model, inside=False)
    patches = [torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(seed)) * 4 - 2 for seed in range(12)]
    images = [nn.functional.interpolate(each, scale_factor=32) for each in patches]
    test_cfg = model.roi_head.test_cfg if 'rcnn' in name else model.test_cfg
    with torch.no_grad():
        best = sorted((float(whole(image, torch.tensor([[96, 128]]))[1].max()), i) for i, image in enumerate(images))
    threshold = (best[0][0] + best[-1][0]) / 2  # between what two of the images give
    for settings_ in (test_cfg, test_cfg if 'rcnn' in name else model.bbox_head.test_cfg):
        settings_.score_thr = threshold
    with mock.patch('torch.rand', lambda *shape, **options: (images[best[0][1]] + 2) / 4 / 255):
        content = to_onnx(whole, (96, 128)).SerializeToString()
    assert compare(content, whole, [images[best[-1][1]]]) < 1e-4
    feed = dict(image=images[best[-1][1]].numpy(), extent=np.array([[96, 128]]))
    assert len(open_session(content).run(None, feed)[0]) > 0


@pytest.mark.parametrize('name', DETECTORS)
def test_a_file_drops_the_boxes_of_which_clipping_leaves_nothing(name):
    pytest.importorskip('mmdet')
    cfg, model = built(CONFIGS / 'demo' / f'{name}.py')
    whole = assemble(cfg, 'detection', model, inside=False)
    session = open_session(to_onnx(whole, (96, 128)).SerializeToString())
    image = torch.rand(1, 3, 96, 128) * 4 - 2
    for extent in ([[96, 128]], [[33, 41]], [[1, 1]]):  # the rest is padding
        boxes, scores, *_ = session.run(None, dict(image=image.numpy(), extent=np.array(extent)))
        with torch.no_grad():
            expected = whole(image, torch.tensor(extent))
        assert len(boxes) == len(expected[0])
        assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
        assert np.sort(scores) == pytest.approx(np.sort(expected[1].numpy()), abs=1e-4)


def test_two_stages_have_no_maps():
    pytest.importorskip('mmdet')
    cfg, model = built(CONFIGS / 'demo' / 'faster_rcnn_micronet_m3_demo.py')
    with pytest.raises(ValueError, match='FasterRCNN has two stages, and no maps'):
        assemble(cfg, 'detection', model, raw=True)


def test_suppression_that_onnx_has_not_is_refused():
    pytest.importorskip('mmdet')
    cfg, model = built(CONFIGS / 'demo' / 'retinanet_micronet_m3_demo.py',
                       **{'model.test_cfg.nms': dict(type='soft_nms', iou_threshold=0.5)})
    with pytest.raises(ValueError, match="suppression of type 'soft_nms' has no place in ONNX"):
        assemble(cfg, 'detection', model)(torch.rand(1, 3, 64, 64), torch.tensor([[64, 64]]))


@pytest.mark.parametrize('what', ['boxes', 'scores', 'labels', 'images', 'missing', 'too many'])
@pytest.mark.parametrize(('count', 'is_close'), [(0, True), (2, True), (3, False), (100, False)])
def test_boxes_are_compared_in_any_order_and_one_in_fifty_may_be_another(what, count, is_close):
    theirs = dict(boxes=torch.arange(400.0).view(100, 4), scores=torch.linspace(0.9, 0.1, 100),
                  labels=torch.arange(100) % 3, images=torch.arange(100) % 2)
    ours = {name: value[torch.randperm(100, generator=torch.manual_seed(0))] for name, value in theirs.items()}
    if what == 'missing':
        ours = {name: value[count:] for name, value in ours.items()}
    elif what == 'too many':
        ours = {name: torch.cat([value, value[:count]]) for name, value in ours.items()}
    else:
        ours[what][:count] += 6
    model = nn.Module()
    model.output_names, model.forward = list(theirs), lambda image: tuple(theirs.values())

    def far():
        found = [each.numpy() for each in ours.values()]
        return compare_with('it', lambda feed: found, model, [torch.zeros(1, 3, 8, 8)])

    if is_close:
        assert far() == 0
    else:
        with pytest.raises(ValueError, match=r'it and PyTorch differ by .*nearly equal.*--raw'):
            far()


@pytest.mark.parametrize('options', [dict(), dict(raw=True, open_size=True, open_batch=True), dict(open_batch=True)],
                         ids=str)
def test_keypoint_models(options):
    pytest.importorskip('mmpose')
    cfg, model = built(CONFIGS / 'demo' / 'keypoint_micronet_m0_demo.py')
    size = default_size(cfg)
    assert size == (176, 128)
    # What random heatmaps look like is sharpened: between pixels DARK divides by their curvature.
    nn.init.normal_(model.head.final_layer.weight, std=3)
    exported(cfg, model, 'keypoints', size, **options)


def test_keypoints_are_those_of_mmpose():
    pytest.importorskip('mmpose')
    from mmpose.structures import PoseDataSample
    cfg, model = built(CONFIGS / 'demo' / 'keypoint_micronet_m0_demo.py')
    nn.init.normal_(model.head.final_layer.weight, std=3)
    image = torch.randn(2, 3, 176, 128)
    flip = contract.dataset_meta(cfg, model)['flip_indices']
    samples = [PoseDataSample(metainfo=dict(flip_indices=flip)) for _ in range(2)]
    with torch.no_grad():
        feats = [model.extract_feat(image), model.extract_feat(image.flip(-1))]
        theirs = model.head.predict(feats, samples, model.test_cfg)
        keypoints, scores = assemble(cfg, 'keypoints', model, inside=False, deploy=False)(image)
    for mine, score, sample in zip(keypoints, scores, theirs):
        np.testing.assert_allclose(mine, sample.keypoints[0], rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(score, sample.keypoint_scores[0], rtol=1e-4, atol=1e-5)


@settings(max_examples=30)
@given(st.booleans(), st.integers(0, 10**6))
def test_heatmaps_are_decoded_as_mmpose_decodes_them(unbiased, seed):
    """Also maxima at the border, where nothing is refined, and maps without any."""
    pytest.importorskip('mmpose')
    from mmpose.codecs import MSRAHeatmap

    from micronet_mm.deploy.keypoints import HeatmapDecoder
    codec = MSRAHeatmap(input_size=(96, 128), heatmap_size=(24, 32), sigma=2, unbiased=unbiased)
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :24]
    centres = rng.uniform((-1, -1), (33, 25), (5, 2))[..., None, None]
    heatmaps = np.exp(-((rows - centres[:, 0])**2 + (columns - centres[:, 1])**2) / 8)
    heatmaps += rng.uniform(0, 0.01, heatmaps.shape)
    heatmaps[0] = -1
    heatmaps = heatmaps.astype(np.float32)
    keypoints, scores = HeatmapDecoder(codec)(torch.from_numpy(heatmaps)[None])
    expected, expected_scores = codec.decode(heatmaps)
    np.testing.assert_allclose(keypoints, expected, atol=2e-2)
    np.testing.assert_allclose(scores, expected_scores)


def test_other_codecs_are_refused():
    pytest.importorskip('mmpose')
    from mmpose.codecs import UDPHeatmap
    cfg, model = built(CONFIGS / 'demo' / 'keypoint_micronet_m0_demo.py')
    model.head.decoder = UDPHeatmap(input_size=(128, 176), heatmap_size=(32, 44), sigma=2)
    with pytest.raises(ValueError, match='UDPHeatmap is not decoded in the graph, only MSRAHeatmap is'):
        assemble(cfg, 'keypoints', model)


def test_what_differs_from_pytorch_is_not_written():
    network = nn.Conv2d(3, 4, 1)
    network.output_names = ['maps']
    network.forward = lambda image: (nn.Conv2d.forward(network, image), )
    content = to_onnx(network, (8, 8)).SerializeToString()
    image = [torch.rand(1, 3, 8, 8)]
    assert compare(content, network, image) < 1e-6
    with torch.no_grad():
        network.weight[0, 0] += 0.01
    with pytest.raises(ValueError, match=r'ONNX Runtime and PyTorch differ by .*nothing was written'):
        compare(content, network, image)


# ---- The tool.

@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """A config on a few figures, and an untrained checkpoint of it."""
    pytest.importorskip('mmdet')
    folder = tmp_path_factory.mktemp('detector')
    write_figures(folder / 'figures', num_train=2, num_val=3)
    config = write_config(folder / 'tiny.py', folder / 'figures')
    _, model = built(config)
    classes = ('person', 'disc', 'square', 'triangle')
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))), folder / 'tiny.pth')
    DefaultScope._instance_dict.clear()
    return folder


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, 'argv', ['export.py', *map(str, arguments)])
    try:
        export_tool.main()
    except SystemExit as stop:
        return str(stop.code)
    return capsys.readouterr().out.splitlines()[-1]


def test_tool_writes_a_file_that_the_runtime_runs(detector, monkeypatch, capsys):
    files = (detector / name for name in ('tiny.py', 'tiny.pth', 'tiny.onnx'))
    said = run(monkeypatch, capsys, *files, '--size', 64, 64)
    assert 'tiny.onnx: detection of' in said and 'on 2 inputs' in said
    properties = {p.key: p.value for p in onnx.load(detector / 'tiny.onnx').metadata_props}
    description = json.loads(properties['micronet_mm'])
    assert description['classes'] == ['person', 'disc', 'square', 'triangle'] and description['person'] == 0
    assert (description['arch'], description['input']['size']) == ('m3', [64, 64])
    found = micronet_runtime.Detector(str(detector / 'tiny.onnx'))(str(detector / 'figures' / 'val'))
    assert len(found) == 3 and set(found[0].names) <= set(description['classes'])


@pytest.mark.parametrize(('arguments', 'message'), [
    (('none.py', 'tiny.pth', 'a.onnx'), 'error: the config .*none.py does not exist'),
    (('tiny.py', 'none.pth', 'a.onnx'), 'error: .*none.pth does not exist, which the export needs'),
    (('tiny.py', 'tiny.pth', 'a.pt'), 'error: .*a.pt is to be an ONNX file; name one that ends in .onnx'),
    (('tiny.py', 'tiny.pth', 'a.onnx', '--open-batch'), 'error: --open-batch: boxes are suppressed image by image'),
    (('tiny.py', 'tiny.pth', 'a.onnx', '--image', 'tiny.py'), 'error: .*tiny.py is no image that OpenCV can read'),
    (('tiny.py', 'other.pth', 'a.onnx'), 'error: .*other.pth'),
], ids=lambda value: str(value)[:40])
def test_tool_answers_mistakes_in_one_line(detector, arguments, message, monkeypatch, capsys):
    import re
    torch.save(dict(state_dict={'a.weight': torch.zeros(2)}), detector / 'other.pth')
    monkeypatch.chdir(detector)
    said = run(monkeypatch, capsys, *arguments)
    assert re.match(message, said) and '\n' not in said
    assert not (detector / 'a.onnx').exists()


def test_without_onnx_the_tool_says_what_to_install(detector):
    code = ("import sys; sys.modules['onnx'] = None\n"
            "sys.argv = ['export.py', 'tiny.py', 'tiny.pth', 'a.onnx']\n"
            'from micronet_mm.commands.export import main; main()')
    run = call('-W', 'ignore', '-c', code, cwd=detector)
    assert run.stdout.splitlines()[-1].startswith('error: exporting needs onnx, which is not installed: pip install')


# ---- What a file says of how images are prepared.

@pytest.mark.parametrize(('steps', 'size', 'expected'), [
    ([dict(type='ResizeEdge', scale=256), dict(type='mmpretrain.CenterCrop', crop_size=(48, 64))], (64, 48),
     [dict(resize_edge=256), dict(center_crop=[64, 48])]),
    ([dict(type='Resize', scale=(48, 64))], (64, 48), [dict(resize=[64, 48])]),
    ([dict(type='Resize', scale=48)], (96, 96), [dict(resize=[48, 48]), dict(resize=[96, 96])]),
    ([dict(type='ResizeEdge', scale=256, backend='pillow')], None, "ResizeEdge of the test pipeline has {'backend': "),
    ([dict(type='Resize', scale=48, interpolation='bicubic')], None, "Resize of the test pipeline has {'interpol"),
    ([dict(type='Rotate', angle=3)], None, 'Rotate of the test pipeline is not known outside MMLab'),
], ids=str)
def test_steps_of_classifiers(steps, size, expected):
    pipeline = [dict(type='LoadImageFromFile'), *steps, dict(type='PackInputs')]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(dataset=dict(pipeline=pipeline)))))
    if isinstance(expected, list):
        assert contract.classification_steps(contract.test_pipeline(cfg), size) == expected
    else:
        with pytest.raises(ValueError) as caught:
            contract.classification_steps(contract.test_pipeline(cfg), size)
        assert str(caught.value).startswith(expected)


RESIZE, MEAN, STD = dict(type='Resize', scale=(640, 640), keep_ratio=True), [100.0, 90.0, 80.0], [50.0, 45.0, 40.0]


@pytest.mark.parametrize(('steps', 'settings_', 'expected'), [
    ([RESIZE], dict(pad_size_divisor=32), dict(divisor=32, pad_value=MEAN)),
    ([RESIZE], dict(pad_value=1), dict(pad_value=[150.0, 135.0, 120.0])),
    ([RESIZE, dict(type='Pad', pad_to_square=True, pad_val=dict(img=(1, 2, 3)))], dict(bgr_to_rgb=True),
     dict(pad_to=[640, 640], pad_value=[3.0, 2.0, 1.0])),
    ([RESIZE, dict(type='Pad', size_divisor=64)], {}, dict(divisor=64, pad_value=[0.0] * 3)),
    ([RESIZE, dict(type='RandomFlip', prob=0.5)], {}, 'RandomFlip of the test pipeline is not known'),
    ([RESIZE, dict(type='Pad')], {}, 'Pad of the test pipeline is not known'),
    ([dict(type='Resize', scale_factor=2.0)], {}, 'Resize of the test pipeline is not known'),
    ([], {}, 'the test pipeline has no Resize'),
], ids=str)
def test_steps_of_detectors(steps, settings_, expected):
    cfg = Config(dict(model=dict(data_preprocessor=dict(mean=MEAN, std=STD, **settings_))))
    if isinstance(expected, dict):
        found = contract.detection_preprocess(cfg, steps, MEAN, STD, inside=True)
        assert expected.items() <= found.items() and found['scale'] == [640, 640]
    else:
        with pytest.raises(ValueError, match=expected):
            contract.detection_preprocess(cfg, steps, MEAN, STD, inside=True)


def test_configs_that_do_not_say_how_images_come():
    with pytest.raises(ValueError, match='the config has no dataloader'):
        contract.dataset_of(Config(dict(test_dataloader=None)))
    with pytest.raises(ValueError, match='does not begin with a step that loads images'):
        contract.test_pipeline(Config(dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='PackInputs')])))))


def test_heads_that_decode_in_parts_take_one_image():
    pytest.importorskip('mmdet')
    import mmdet
    from mmengine.utils import get_installed_path
    assert mmdet
    cfg, model = built(f'{get_installed_path("mmdet")}/.mim/configs/gfl/gfl_r50_fpn_1x_coco.py',
                       **{'model.backbone': dict(_delete_=True, type='MicroNet', arch='m0', out_indices=(0, 1, 2, 3)),
                          'model.neck.in_channels': [8, 12, 32, 384]})
    whole = assemble(cfg, 'detection', model)
    assert len(whole(torch.rand(1, 3, 64, 64) * 255, torch.tensor([[64, 64]]))) == 4
    with pytest.raises(ValueError, match='decodes the boxes of an image in parts'):
        whole(torch.rand(2, 3, 64, 64) * 255, torch.tensor([[64, 64]] * 2))


def test_scores_of_several_labels_are_refused():
    pytest.importorskip('mmpretrain')
    head = dict(_delete_=True, type='MultiLabelLinearClsHead', num_classes=5, in_channels=384)
    cfg, model = built(CONFIGS / 'imagenet_micronet_m0.py', **{
        'model.head': head, 'model.neck': dict(type='GlobalAveragePooling')})
    with pytest.raises(ValueError, match='the logits of MultiLabelLinearClsHead are no scores of one class'):
        assemble(cfg, 'classification', model)
