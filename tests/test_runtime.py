"""The runtime, on files whose outputs are known, and its geometry beside MMLab's."""
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from mm import ROOT, SOURCES, call, write_mixed
from tiny_onnx import write_model

from micronet_runtime import Classifier, Detector, InputError, Model, PeopleAndPoses, PoseEstimator, draw, read
from micronet_runtime.__main__ import main
from micronet_runtime.affine import crop
from micronet_runtime.metadata import parse
from micronet_runtime.preprocess import apply_steps, fit, pack, resize
from micronet_runtime.whole import is_whole

NEEDED = ('cv2', 'numpy', 'onnxruntime')
WHITE = np.full((90, 120, 3), 255, np.uint8)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def spot(x, y, size=(90, 120)):
    """Black but for a white spot at (x, y)."""
    image = np.zeros((*size, 3), np.uint8)
    cv2.circle(image, (x, y), 4, (255, 255, 255), -1)
    image[y, x] = 255
    return cv2.GaussianBlur(image, (0, 0), 2)


@pytest.fixture
def made(tmp_path):
    """Make a model, named after its task."""
    return lambda task, /, **changes: write_model(tmp_path / f'{task}.onnx', task, **changes)


def metadata_of(made, task, /, **changes):
    return Model(made(task, **changes)).metadata


def write_video(path, values, size=(90, 120), codec='mp4v'):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 5, size[::-1])
    for value in values:
        video.write(np.full((*size, 3), value, np.uint8))
    video.release()
    return str(path)


def test_nothing_but_numpy_opencv_and_onnxruntime_is_loaded():
    code = '''import sys, micronet_runtime, micronet_runtime.__main__
print([name for name in ('micronet_mm', 'mmcv', 'mmengine', 'mmdet', 'mmpose', 'onnx', 'PIL', 'torch')
       if name in sys.modules])'''
    run = call('-c', code, cwd=ROOT, apart=True, cold=True)
    assert (run.stdout, run.stderr) == ('[]\n', '')
    for file in (ROOT / 'micronet_runtime').glob('*.py'):  # later neither
        for node in ast.walk(ast.parse(file.read_text())):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else [
                node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert {name.partition('.')[0] for name in names} <= {*sys.stdlib_module_names, *NEEDED}, file
            assert getattr(node, 'level', 0) in (0, 1, None), file


@pytest.mark.parametrize(('then', 'begins', 'lines'), [
    ('import micronet_mm', 'ModuleNotFoundError', slice(-1, None)),
    ('import micronet_mm_console as it, sys; sys.argv[1:] = ["train", "x"]; it.main()', 'error', slice(None)),
])
def test_without_torch_micronet_mm_says_what_to_install(then, begins, lines):
    code = f'''import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == 'torch' else found(name)
{then}'''
    run = call('-c', code, cwd=ROOT, apart=True, cold=True)
    said, = run.stderr.strip().splitlines()[lines]
    assert said.startswith(f"{begins}: micronet_mm needs torch and MMLab: pip install 'micronet-mm[lite]'")


# From images to inputs


@pytest.mark.parametrize('color', ['rgb', 'bgr'])
def test_normalization_inside_and_outside_and_the_order_of_channels(color, made):
    mean, std = [100, 110, 120], [50, 60, 70]
    image, how = noise(5, 7), dict(color=color, mean=mean, std=std)
    plain = (image[..., ::-1] if color == 'rgb' else image).transpose(2, 0, 1).astype(np.float32)
    channels = np.float32([mean, std])[..., None, None]
    outside = pack([image], metadata_of(made, 'features', **how), (8, 8), pad_value=0.5)[0]
    inside = pack([image], metadata_of(made, 'features', normalization='inside', **how), (8, 8), pad_value=0.5)[0]
    assert outside.dtype == inside.dtype == np.float32
    assert np.array_equal(outside[:, :5, :7], (plain - channels[0]) / channels[1])
    assert np.array_equal(inside[:, :5, :7], plain)
    for padding in (np.s_[:, 5:], np.s_[:, :, 7:]):  # the same once the graph has normalized
        assert np.all(outside[padding] == 0.5)
        np.testing.assert_allclose(((inside - channels[0]) / channels[1])[padding], 0.5, atol=1e-6)


@pytest.mark.parametrize('place', ['inside', 'outside'])
def test_padding_as_the_graph_is_to_get_it(place, made):
    metadata = metadata_of(made, 'features', mean=[9, 9, 9], normalization=place)
    packed = pack([noise(5, 7)], metadata, (5, 8), pad_value=[1, 2, 3])[0]
    assert packed[:, :, 7].tolist() == [[1] * 5, [2] * 5, [3] * 5]


@pytest.mark.parametrize('size', [(90, 120), (121, 77), (40, 300), (256, 256), (31, 33)])
def test_a_classifier_sees_what_mmpretrain_shows_it(size, made):
    pytest.importorskip('mmpretrain')
    from mmcv.transforms import Resize
    from mmpretrain.datasets.transforms import CenterCrop, ResizeEdge
    from mmpretrain.models.utils.data_preprocessor import ClsDataPreprocessor
    torch = pytest.importorskip('torch')
    image = noise(*size)
    theirs = dict(img=image)
    for step in (ResizeEdge(scale=73, edge='short'), CenterCrop(crop_size=64), Resize(scale=(50, 60))):
        theirs = step(theirs)
    ours = apply_steps(image, [{'resize_edge': 73}, {'center_crop': [64, 64]}, {'resize': [60, 50]}])
    assert np.array_equal(ours, theirs['img'])
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    packed = pack([ours], metadata_of(made, 'classification', color='rgb', mean=mean, std=std), ours.shape[:2])
    batch = dict(inputs=torch.tensor(theirs['img'].transpose(2, 0, 1)[None]))
    assert np.array_equal(packed, ClsDataPreprocessor(mean=mean, std=std, to_rgb=True)(batch)['inputs'])


@pytest.mark.parametrize('keep_ratio', [True, False])
@pytest.mark.parametrize('size', [(90, 120), (121, 77), (40, 300), (427, 640), (33, 31)])
def test_a_detector_sees_what_mmdet_shows_it(size, keep_ratio, made):
    pytest.importorskip('mmdet')
    from mmdet.datasets.transforms import Resize
    from mmdet.models import DetDataPreprocessor
    from mmdet.structures import DetDataSample
    torch = pytest.importorskip('torch')
    image, mean, std = noise(*size), [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]
    theirs = Resize(scale=(200, 128), keep_ratio=keep_ratio)(dict(img=image))
    sample = DetDataSample(metainfo=dict(img_shape=theirs['img_shape']))
    batch = DetDataPreprocessor(mean=mean, std=std, bgr_to_rgb=False, pad_size_divisor=32)(
        dict(inputs=[torch.tensor(theirs['img'].transpose(2, 0, 1))], data_samples=[sample]))['inputs']
    fitted = fit(size, dict(scale=[200, 128], keep_ratio=keep_ratio, divisor=32), None)
    packed = pack([resize(image, fitted.scaled)], metadata_of(made, 'detection', mean=mean, std=std), fitted.padded)
    assert np.array_equal(packed, batch)
    assert np.allclose(theirs['scale_factor'], (fitted.scaled[1] / size[1], fitted.scaled[0] / size[0]))


@pytest.mark.parametrize('size', [(256, 192), (64, 64), (48, 96)])
@pytest.mark.parametrize('seed', range(6))
def test_a_pose_model_sees_what_mmpose_shows_it_and_points_come_back(size, seed):
    pytest.importorskip('mmpose')
    from mmpose.datasets.transforms import GetBBoxCenterScale, TopdownAffine
    rng, image = np.random.default_rng(seed), noise(90, 120, seed)
    corner = rng.uniform(-20, 60, 2)
    box = np.float32([*corner, *(corner + rng.uniform(1, 100, 2))])
    theirs = TopdownAffine(input_size=size[::-1])(GetBBoxCenterScale(padding=1.25)(dict(img=image, bbox=box[None])))
    ours = crop(box, 1.25, size)
    assert np.array_equal(ours.of(image), theirs['img'])
    assert np.array_equal(ours.extent, theirs['input_scale']) and np.array_equal(ours.center, theirs['input_center'])
    points = rng.uniform(0, 60, (17, 2)).astype(np.float32)
    scale = theirs['input_scale']
    back = points / theirs['input_size'] * scale + theirs['input_center'] - 0.5 * scale
    assert np.allclose(ours.to_image(points), back, atol=1e-4)


@pytest.mark.parametrize(('size', 'fixed', 'scaled'), [
    ((60, 80), (64, 80), (60, 80)),     # as it is
    ((600, 800), (64, 80), (60, 80)),   # scaled to (80, 64)
    ((800, 600), (64, 80), (64, 48)),   # scaled it would be 80 high: made to fit
    ((600, 800), (32, 32), (24, 32)),
    ((1, 5000), (64, 80), (1, 80)),     # never to nothing
])
def test_what_does_not_fit_a_fixed_size_is_made_smaller(size, fixed, scaled):
    fitted = fit(size, dict(scale=[80, 64], keep_ratio=True, divisor=32), fixed)
    assert (fitted.scaled, fitted.padded) == (scaled, fixed)
    assert fit(size, dict(scale=[99, 99], keep_ratio=False), fixed).scaled == fixed


@pytest.mark.parametrize(('how', 'padded'), [
    (dict(), (60, 80)), (dict(divisor=32), (64, 96)), (dict(pad_to=[80, 80]), (80, 80)),
    (dict(pad_to=[80, 80], divisor=32), (96, 96)), (dict(pad_to=[9, 9], divisor=1), (60, 80)),
])
def test_an_open_size_is_padded_to_the_least_size_and_to_multiples(how, padded):
    assert fit((600, 800), dict(scale=[80, 64], **how), None).padded == padded


@pytest.mark.parametrize('size', [(1, 70000), (70000, 1), (1, 1)])
def test_a_thin_image_does_not_grow_to_gigabytes(size):
    assert apply_steps(np.zeros((*size, 3), np.uint8), [{'resize_edge': 256}, {'center_crop': [224, 224]}]).shape == (
        224, 224, 3)


# From outputs to results


def test_a_classifier_names_the_brightest_channel(made):
    classify, image = Classifier(made('classification')), np.zeros((90, 120, 3), np.uint8)
    image[..., 1] = 255
    result, = classify(image)
    assert (result.image, result.frame, result.label, result.name) == (0, None, 1, 'green')
    assert np.allclose(result.scores, np.exp([0, 1, 0]) / (2 + np.e)) and result.score == result.scores[1]
    assert Classifier(made('classification', color='rgb'))(image[..., [1, 0, 2]])[0].name == 'red'


@pytest.mark.parametrize('fixed', [None, (64, 96), (96, 128)])
def test_boxes_come_back_to_the_image_best_first(fixed, made):
    """An image of 120 x 90 becomes 80 x 60, in an input of 96 x 64 where that is open."""
    found, = Detector(made('detection', size=fixed))(WHITE)
    height, width = fixed or (64, 96)
    x, y = width / 2 * 1.5, height / 2 * 1.5
    assert np.allclose(found.boxes, [(x / 2, y / 2, 120, 90), (0, 0, x, y), (0, 0, x / 2, y)])  # none of the padding
    assert np.allclose(found.scores / found.scores[0], [1, 2 / 3, 1 / 3])
    assert (found.labels.tolist(), found.names) == ([0, 1, 0], ('person', 'disc', 'person'))
    assert found.boxes.dtype == np.float32 and found.labels.dtype == np.int64


def test_thresholds_and_the_most_boxes_of_an_image(made):
    whole = dict(size=(90, 120), preprocess=dict(scale=[120, 90]))
    def scores(threshold=None, **changes):
        return Detector(made('detection', **whole, **changes), threshold=threshold)(WHITE)[0].scores.tolist()
    assert np.allclose(scores(), [0.9, 0.8, 0.6, 0.3])
    assert np.allclose(scores(0.5), [0.9, 0.8, 0.6])
    assert np.allclose(scores(score_threshold=0.7, max_per_image=1), [0.9])
    assert scores(0.95) == []


def test_keypoints_come_back_to_the_image(made):
    pose = PoseEstimator(made('keypoints'))
    image = spot(60, 40)
    for boxes in (None, [[30, 10, 100, 80]], [[-40, -10, 80, 60]], [[55, 35, 65, 45]]):
        result, = pose(image, boxes)
        person, = result.people
        pixel = person.bbox[2:] - person.bbox[:2]
        pixel = 1.25 * max(pixel[0] / 48, pixel[1] / 64)  # in pixels of the image
        assert person.keypoints.shape == (17, 2) and np.abs(person.keypoints - (60, 40)).max() <= 0.5 * pixel + 0.5
        assert person.bbox_score == 1 and person.keypoint_scores.shape == (17, )
    assert pose(image, np.empty((0, 4)))[0].people == ()
    assert np.array_equal(pose(image)[0].people[0].bbox, [0, 0, 120, 90])


def test_people_then_poses(made):
    find = PeopleAndPoses(made('detection'), made('keypoints'), threshold=0.5)
    result, = find(WHITE)
    person, = result.people  # the disc is none, and one is below the threshold
    assert np.allclose(person.bbox, [36, 24, 120, 90]) and person.bbox_score > 0.5
    assert find(np.zeros_like(WHITE))[0].people == ()
    with pytest.raises(InputError, match='does not say which of its labels are people'):
        PeopleAndPoses(made('detection', person=None), made('keypoints'))


@pytest.mark.parametrize('task', ['classification', 'detection', 'keypoints'])
@pytest.mark.parametrize(('fixed', 'batch_size'), [(3, None), (None, 3), (None, 100), (3, 3)])
def test_a_batch_gives_what_single_images_give(task, fixed, batch_size, made):
    kind = dict(classification=Classifier, detection=Detector, keypoints=PoseEstimator)[task]
    images = [spot(*place, size) // (index + 1) for index, (place, size) in enumerate(
        zip([(20, 30), (60, 40), (50, 50), (9, 60), (70, 70)], [(90, 120)] * 2 + [(120, 90)] + [(90, 120)] * 2))]
    single = [result.to_dict() for result in kind(made(task))(images)]
    together = [result.to_dict() for result in kind(made(task, batch=fixed), batch_size=batch_size)(images)]
    assert len(single) == 5 and single == together
    if task == 'keypoints':
        boxes = [[10, 10, 60, 80], [0, 0, 99, 30], [20, 20, 70, 70], [40, 5, 80, 85]]
        one, many = (kind(made(task, batch=batch), batch_size=size)(images[0], boxes)
                     for batch, size in ((None, 1), (fixed, batch_size)))
        assert one[0].to_dict() == many[0].to_dict() and len(one[0].people) == 4


def test_results_as_json(made):
    classified, = Classifier(made('classification'))(WHITE)
    detected, = Detector(made('detection'))(WHITE)
    people, = PoseEstimator(made('keypoints'))(WHITE)
    for result, keys in ((classified, ['image', 'label', 'name', 'score', 'scores']),
                         (detected, ['image', 'boxes', 'scores', 'labels', 'names']), (people, ['image', 'people'])):
        assert list(json.loads(json.dumps(result.to_dict()))) == keys
    person, = people.to_dict()['people']
    assert list(person) == ['bbox', 'bbox_score', 'keypoints', 'keypoint_scores']  # as find_poses has them


def test_drawing(made):
    results = [kind(made(task))(WHITE)[0] for kind, task in
               ((Classifier, 'classification'), (Detector, 'detection'), (PoseEstimator, 'keypoints'))]
    for result in results:
        given = WHITE.copy()
        drawn = draw(given, result)
        assert drawn.shape == given.shape and drawn.dtype == np.uint8
        assert (drawn != given).any() and np.array_equal(given, WHITE)
    for size in ((1, 1), (3, 500), (1000, 20)):  # wherever text and lines end
        image = np.zeros((*size, 3), np.uint8)
        assert draw(image, PoseEstimator(made('keypoints'))(image)[0]).shape == image.shape


def test_a_skeleton_is_drawn_where_its_points_are_seen(made):
    image = spot(60, 40)
    skeleton = dict(names=['nose'] * 17, links=[[0, 1], [2, 3]], colors=[[255, 0, 0], [0, 0, 255]])
    result, = PoseEstimator(made('keypoints', skeleton=skeleton))(image, [[30, 10, 100, 80]])
    points, scores = result.people[0].keypoints, result.people[0].keypoint_scores
    points[:4], scores[:] = [(40, 60), (80, 60), (40, 70), (80, 70)], [1, 1, 1, 0.1] + [0] * 13
    drawn = draw(image, result)
    assert drawn[60, 60, 2] > 200 > 30 > drawn[60, 60, :2].max()  # red, as the file has it
    assert drawn[70, 60].tolist() == image[70, 60].tolist()  # one end is not seen
    assert draw(image, result, keypoint_threshold=0.05)[70, 60, 0] > 200


# Sources


def test_a_folder_is_read_in_order_and_what_is_broken_is_named(made, tmp_path, caplog):
    folder, picture = tmp_path / 'mixed', noise(90, 120)
    write_mixed(folder, {'b.png': picture, 'a.JPG': picture, 'grey.pgm': picture[..., 0]})
    results = Classifier(made('classification'))(folder)
    assert [result.image for result in results] == [str(folder / name) for name in ('a.JPG', 'b.png', 'grey.pgm')]
    assert caplog.messages == [f'the image {folder / name} cannot be decoded and is skipped' for name in (
        'broken.png', 'cut-a.JPG', 'cut-b.png', 'empty.png')] + [
        f'the image {folder / "gone.png"} does not exist and is skipped']
    mixed = Classifier(made('classification'))([WHITE, folder / 'b.png', str(folder / 'empty.png'), WHITE])
    assert [result.image for result in mixed] == [0, str(folder / 'b.png'), 3]


@pytest.mark.parametrize('quality', [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]])
def test_a_whole_jpeg_is_told_from_one_that_was_cut(quality):
    data = cv2.imencode('.jpg', noise(60, 80), quality)[1].tobytes()
    assert is_whole(data) and is_whole(data + b'\xff\xd8 a film of the same moment')
    assert not any(is_whole(data[:end]) for end in (0, 2, 20, len(data) // 2, len(data) - 1))
    png = cv2.imencode('.png', noise(60, 80))[1].tobytes()
    assert is_whole(png) and is_whole(png + b'more') and not is_whole(png[:-1])


def test_a_video_is_computed_frame_by_frame(made, tmp_path, monkeypatch):
    film = write_video(tmp_path / 'film.mp4', (40, 120, 200))
    detect, sizes = Detector(made('detection')), []
    run = detect.model.run
    monkeypatch.setattr(detect.model, 'run', lambda images, extents: sizes.append(images.shape) or run(images, extents))
    results = detect.stream(film)
    assert not sizes
    first = next(results)
    assert (first.image, first.frame, sizes) == (film, 0, [(1, 3, 64, 96)])
    rest = list(results)
    assert [result.frame for result in rest] == [1, 2] and first.scores[0] < rest[0].scores[0] < rest[1].scores[0]
    assert [frame.rate for frame in read(film)] == [5.0] * 3


class Camera:
    """Three images, then Ctrl-C."""

    def __init__(self, number):
        assert number == 0
        self.left, self.released = 3, False

    def get(self, _):
        return 0.0

    def read(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return True, WHITE

    def release(self):
        self.released = True


def test_a_camera(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('cv2.VideoCapture', Camera)
    detect = Detector(made('detection'))
    with pytest.raises(InputError, match=r'camera 0 never ends; take its results one by one from stream\(0\)'):
        detect(0)
    results = detect.stream(0)
    assert (next(results).image, next(results).frame) == ('camera 0', 1)
    main([made('detection'), '0', '--camera', '--out-dir', 'found', '--json', 'found.json'])
    assert len(json.loads(Path('found.json').read_text())) == 3 and '6 boxes in 3 images' in capsys.readouterr().out
    monkeypatch.undo()
    assert len(list(read(tmp_path / 'found' / 'camera_0.mp4'))) == 3


# Mistakes


def fails(call, message, kind=ValueError):
    with pytest.raises(kind, match=message) as error:
        call()
    assert '\n' not in str(error.value)


def test_models_that_are_none(made, tmp_path):
    (tmp_path / 'text.onnx').write_text('not a model')
    fails(lambda: Detector(tmp_path / 'none.onnx'), r'the model .*none\.onnx does not exist; name', FileNotFoundError)
    fails(lambda: Detector(tmp_path), 'is no file; name an exported ONNX file')
    fails(lambda: Detector(tmp_path / 'text.onnx'), r'text\.onnx is no model that ONNX Runtime')
    fails(lambda: Detector(made('keypoints')), 'is a model for keypoints, which PoseEstimator runs; Detector takes')
    fails(lambda: Classifier(made('features')), 'is a model for features, which Model runs')
    for kind, task in ((Detector, 'detection'), (PoseEstimator, 'keypoints')):
        fails(lambda k=kind, t=task: k(made(t, raw=True)), 'export it without --raw')
    other = dict(task='detection', classes=[], max_per_image=1, score_threshold=0, preprocess=dict(scale=[9, 9]))
    fails(lambda: Detector(made('features', **other)), 'gives map and not boxes, scores, labels, images; export')


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(metadata=False), 'has no metadata of micronet_mm'),
    (dict(metadata='{'), r'the metadata of .* cannot be understood \(.*\); export'),
    (dict(metadata='[]'), 'cannot be understood'),
    (dict(format=2), 'has metadata of format 2, and this micronet_runtime reads format 1'),
    (dict(task='flow'), "'flow' is none of classification, detection"),
    (dict(color='hsv'), "'hsv' is none of rgb, bgr"),
    (dict(mean=[1]), 'cannot be understood'),
    (dict(input=None), 'cannot be understood'),
    (dict(preprocess=None), 'preprocess is None'),
    (dict(preprocess=dict(divisor=32)), r"\('scale' is missing\)"),
])
def test_metadata_that_cannot_be_understood(changes, message, made):
    fails(lambda: Detector(made('detection', **changes)), message)


def test_metadata_of_which_a_part_is_missing(made):
    content = json.loads(Model(made('detection')).session.get_modelmeta().custom_metadata_map['micronet_mm'])
    for key in ('classes', 'max_per_image', 'score_threshold', 'input'):
        left = {name: value for name, value in content.items() if name != key}
        fails(lambda left=left: parse(json.dumps(left), 'a.onnx'), f'{key}.* missing')


def test_numbers_that_cannot_be(made):
    detector = made('detection')
    fails(lambda: Detector(detector, threads=0), 'threads is 0; give a number from 1')
    fails(lambda: Detector(detector, batch_size=0), 'batch_size is 0')
    fails(lambda: Detector(detector, threshold=30), 'the threshold is 30; scores are from 0 to 1')
    fails(lambda: Detector(detector, threshold=float('nan')), 'the threshold is nan')
    fails(lambda: Detector(detector, providers=['NPU']), "'NPU' is no provider of this ONNX Runtime; give of")
    fails(lambda: Detector(made('detection', batch=2), batch_size=4), 'batch_size is 4, and .* takes 2 at once')


def test_sizes_that_the_file_does_not_take(made):
    classify = Classifier(made('classification', preprocess=[]))
    fails(lambda: classify(WHITE), r'an input of 90 x 120 was given, and .*onnx takes 32 x 32 alone')
    fails(lambda: Classifier(made('classification', preprocess=[{'flip': 1}]))(WHITE), "the unknown step 'flip'")
    fails(lambda: PoseEstimator(made('keypoints', size=None)), 'does not say what size the crops of people have')
    assert PoseEstimator(made('keypoints', size=None, preprocess=dict(padding=1.25, size=[64, 48]))).size == (64, 48)
    fails(lambda: classify.model.run(np.zeros((1, 3, 32, 32))), r'type float64 is no input; give one of shape \(N, 3')
    model = Model(made('features', batch=2))
    fails(lambda: model.run(np.zeros((3, 3, 8, 8), np.float32)), '3 images were given, and .* takes 2 at once')


@pytest.mark.parametrize('array', [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_arrays_that_are_no_image(array, made):
    fails(lambda: Classifier(made('classification'))([array]), r'is no image; give one of shape \(H, W, 3\)')


def test_sources_that_hold_nothing(made, tmp_path):
    classify = Classifier(made('classification'))
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken').mkdir()
    for name in ('text.jpg', 'film.mp4', 'README', 'broken/a.png'):
        (tmp_path / name).write_text('no image')
    fails(lambda: classify.stream('none.jpg'), r'none\.jpg does not exist; name', FileNotFoundError)
    fails(lambda: classify.stream(tmp_path / 'empty'), 'holds no image; name')
    fails(lambda: classify.stream([]), 'holds no image; name')
    for wrong in ([0], None, True, [None]):
        fails(lambda wrong=wrong: classify.stream(wrong), 'is no source; give a path')
    fails(lambda: classify(tmp_path / 'broken'), 'broken holds no image that can be read; see the lines above')
    for name in ('text.jpg', 'README'):
        fails(lambda name=name: classify(tmp_path / name), f'the image .*{name} cannot be decoded; replace it')
    fails(lambda: classify(tmp_path / 'film.mp4'), r'the video .*film\.mp4 cannot be decoded')
    fails(lambda: draw(tmp_path / 'none.jpg', None), 'does not exist', FileNotFoundError)


@pytest.mark.parametrize(('boxes', 'message'), [
    ([1, 2, 3, 4], r'boxes of shape \(4,\) were given; give them in shape \(M, 4\)'),
    ([[1, 2, 3]], 'boxes of shape'), ([[3, 2, 1, 4]], r'\[3\.0, 2\.0, 1\.0, 4\.0\] is no box; give x1'),
    ([[0, 0, 1, np.nan]], 'is no box'), ('all', 'are no boxes'),
])
def test_boxes_that_are_none(boxes, message, made):
    pose = PoseEstimator(made('keypoints'))
    fails(lambda: pose(WHITE, boxes), message)
    fails(lambda: pose([WHITE, WHITE], [[0, 0, 9, 9]]), 'boxes were given for 2 images')


# The command line


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Two in a folder, below the current one."""
    monkeypatch.chdir(tmp_path)
    Path('pictures').mkdir()
    for name in ('a.png', 'b.jpg'):
        cv2.imwrite(f'pictures/{name}', WHITE)
    return Path('pictures')


def run_here(*arguments):
    main([str(argument) for argument in arguments])


@pytest.mark.parametrize(('tasks', 'said', 'key'), [
    (['classification'], '2 images classified', 'name'), (['detection'], '4 boxes in 2 images', 'boxes'),
    (['keypoints'], '2 people in 2 images', 'people'), (['detection', 'keypoints'], '2 people in 2 images', 'people'),
])
def test_a_folder_from_the_command_line(tasks, said, key, made, pictures, capsys):
    for _ in range(2):  # into the same folder again
        run_here(*map(made, tasks), pictures, '--out-dir', 'found', '--json', 'lists/found.json', '--threads', 1)
        out = capsys.readouterr().out
        took = r'\d+\.\d ms per image \(median\)'
        assert re.fullmatch(rf'{said}, {took}, drawn in found, listed in lists/found\.json\n', out)
        assert sorted(path.name for path in Path('found').iterdir()) == ['a.png', 'b.jpg']
        assert [path.name for path in Path('lists').iterdir()] == ['found.json']
        found = json.loads(Path('lists/found.json').read_text())
        assert [each['image'] for each in found] == ['pictures/a.png', 'pictures/b.jpg'] and key in found[0]
        assert (cv2.imread('found/a.png') != WHITE).any()


def test_a_video_from_the_command_line(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, codec in (('film.mp4', 'mp4v'), ('film.avi', 'MJPG'), ('film.wmv', 'WMV2')):
        write_video(name, (40, 80, 120), codec=codec)
        run_here(made('detection'), name, '--out-dir', 'found', '--json', 'found.json')
        assert [(each['image'], each['frame']) for each in json.loads(Path('found.json').read_text())] == [
            (name, frame) for frame in range(3)]
    assert sorted(path.name for path in Path('found').iterdir()) == ['film.avi', 'film.mp4', 'film.wmv.mp4']
    for path in Path('found').iterdir():
        frames = list(read(path))
        assert len(frames) == 3 and frames[0].rate == 5 and frames[0].pixels.shape == (90, 120, 3)


@pytest.mark.parametrize(('options', 'message'), [
    (['--out-dir', 'pictures'], 'pictures/a.png is also the input pictures/a.png; choose'),
    (['--out-dir', 'link'], 'link/a.png is also the input pictures/a.png;'),
    (['--json', 'pictures/a.png'], 'pictures/a.png is also the input pictures/a.png;'),
    (['--json', 'detection.onnx'], 'detection.onnx is also the input .*detection.onnx;'),
    (['--out-dir', 'file'], 'file is not writable'), (['--out-dir', 'file/below'], 'file/below is not writable'),
    (['--json', 'folder'], 'Output folder is a folder'),
    (['--json', 'found/a.png', '--out-dir', 'found'], 'found/a.png would be a drawing and the list'),
    (['--out-dir', 'found', '--threshold', '2'], 'the threshold is 2.0'),
    (['--out-dir', 'found', '--keypoint-threshold', '-1'], 'the keypoint threshold is -1.0'),
    (['--out-dir', 'found', '--threads', '0'], 'threads is 0'),
    (['--out-dir', 'found', '--batch-size', '0'], 'batch_size is 0'),
    (['--out-dir', 'found', '--camera'], 'pictures is no number of a camera'),
])
def test_a_mistake_on_the_command_line_is_one_line(options, message, made, pictures):
    Path('file').touch()
    Path('folder').mkdir()
    Path('link').symlink_to('pictures')
    detector = made('detection')
    before = {path: path.read_bytes() for path in (*pictures.iterdir(), Path(detector))}
    with pytest.raises(SystemExit, match=f'^error: .*{message}') as end:
        run_here(detector, pictures, *options)
    assert '\n' not in str(end.value)
    assert before == {path: path.read_bytes() for path in before}


def test_the_number_of_a_camera_alone_is_told_what_it_lacks(made):
    with pytest.raises(SystemExit, match=r'^error: 0 does not exist; .* For a camera add --camera'):
        run_here(made('detection'), '0', '--json', 'found.json')


def test_models_that_the_command_line_cannot_combine(made, pictures):
    detector, pose, classifier = made('detection'), made('keypoints'), made('classification')
    for files, options, message in (
            ([pose, detector], [], 'is a model for keypoints, which PoseEstimator runs; Detector takes'),
            ([made('features')], [], 'gives features, which cannot be drawn'),
            ([classifier], ['--threshold', 0.5], '--threshold is for boxes'),
            (['none.onnx'], [], r'the model none\.onnx does not exist')):
        with pytest.raises(SystemExit, match=f'^error: .*{message}'):
            run_here(*files, pictures, '--out-dir', 'found', *options)
    for few in ([detector, '--out-dir', 'found'], [detector, 'pictures']):
        with pytest.raises(SystemExit) as end:
            run_here(*few)
        assert end.value.code == 2


def test_what_cannot_be_finished_leaves_no_file(made, pictures, monkeypatch):
    def fail(*_):
        raise ValueError('a bug')
    monkeypatch.setattr('micronet_runtime.__main__.draw', fail)
    with pytest.raises(ValueError, match='a bug'):  # which is no mistake, so it shows where it is
        run_here(made('detection'), pictures, '--out-dir', 'found', '--json', 'lists/found.json')
    assert not any(Path('found').iterdir()) and not any(Path('lists').iterdir())


def test_two_pictures_of_one_name_are_not_drawn_in_one_file(made, pictures):
    cv2.imwrite('pictures/c.pgm', WHITE[..., 0])
    cv2.imwrite('pictures/c.pgm.png', WHITE)
    with pytest.raises(SystemExit, match='would be drawn in one file'):
        run_here(made('detection'), pictures, '--out-dir', 'found')


def test_a_model_shows_what_it_is(made, capsys):
    many = made('classification', classes=[*map(str, range(21))])
    run_here(made('detection'), made('keypoints'), many, '--show-model')
    out = capsys.readouterr().out
    for line in (r'.*detection\.onnx', r'task +detection', r'input, H x W +any', r'2 classes +person, disc',
                 r'people +label 0', r'21 classes +(\d+, ){20}and 1 more',
                 r'input, H x W +64 x 48', r'17 keypoints +nose, left_eye, .*'):
        assert re.search(f'^{line}$', out, re.M), line


@pytest.mark.slow
def test_the_wheel_runs_where_nothing_else_is(made, tmp_path):
    """Installed with its extra alone, into an environment of its own."""
    plain = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}

    def call(*command):
        run = subprocess.run([*map(str, command)], cwd=tmp_path, env=plain, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout
    call(sys.executable, '-m', 'venv', 'venv')
    python = tmp_path / 'venv' / 'bin' / 'python'
    (tmp_path / 'source').mkdir()  # building leaves files behind
    for name in SOURCES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / 'source' / name)
    call(python, '-m', 'pip', 'wheel', '--no-deps', '--wheel-dir', 'wheels', './source')
    wheel, = (tmp_path / 'wheels').iterdir()
    call(python, '-m', 'pip', 'install', f'{wheel}[runtime]')
    installed = {package['name'] for package in json.loads(call(python, '-m', 'pip', 'list', '--format', 'json'))}
    assert {'micronet-mm', 'numpy', 'onnxruntime', 'opencv-python-headless'} <= installed
    assert not any(name.startswith(('torch', 'mm', 'onedl', 'msgspec')) for name in installed)
    cv2.imwrite(str(tmp_path / 'a.png'), WHITE)
    out = call(python, '-m', 'micronet_runtime', made('detection'), made('keypoints'), 'a.png', '--out-dir', 'found')
    assert '1 person in 1 image,' in out and (tmp_path / 'found' / 'a.png').exists()
    run = subprocess.run([python, '-c', 'import micronet_mm'], cwd=tmp_path, env=plain, capture_output=True, text=True)
    assert run.stderr.strip().splitlines()[-1].startswith('ModuleNotFoundError: micronet_mm needs torch and MMLab')
