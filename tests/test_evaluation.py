"""Exported files evaluated by a config, with known outcomes: of predictors that know the truth, and of files that do
arithmetic."""
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mm import ROOT, write_config
from mmengine.config import Config

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('mmdet')

import cv2
import test_exported
from tiny_onnx import write_model

from micronet_mm.datasets import CLASSES, write_figures
from micronet_mm.engine.exported import check_classes, evaluate
from micronet_runtime import Classification, Detections, Frame, People, Person
from micronet_runtime.sources import load

COLORS = {'blue': (255, 0, 0), 'green': (0, 255, 0), 'red': (0, 0, 255)}


def read(path):
    return Frame(path, None, load(path))


class Oracle:
    """Finds what is annotated, moved by some pixels; all of the first class if it is ``blind``."""

    size, padding = (176, 128), 1.25

    def __init__(self, annotations=None, classes=(), moved=0, blind=False):
        self.model = SimpleNamespace(metadata=SimpleNamespace(classes=classes))
        self.moved, self.blind = moved, blind
        if annotations:
            content = json.loads(annotations.read_text())
            self.images = {image['id']: image['file_name'] for image in content['images']}
            self.found = content['annotations']

    def of(self, image):
        return [each for each in self.found if image.endswith('/' + self.images[each['image_id']])]

    def predict(self, frames):
        for frame in frames:
            yield frame, self.result(frame.image)

    def result(self, image):
        here = self.of(image)
        boxes = np.float32([each['bbox'] for each in here]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.int64([each['category_id'] - 1 for each in here]) * (not self.blind)
        return Detections(image, None, boxes + self.moved, np.full(len(here), 0.9, np.float32), labels, ())

    def people(self, frame, boxes, scores):
        people = []
        for box, score in zip(boxes, scores):
            same = [each for each in self.of(frame.image) if np.allclose(each['bbox'][:2], box[:2], atol=1e-3)]
            points = np.float32(same[0]['keypoints']).reshape(17, 3)[:, :2] + self.moved
            people.append(Person(box, float(score), points, np.ones(17, np.float32)))
        return People(frame.image, None, tuple(people), None)


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('figures') / 'data'
    write_figures(folder, num_train=1, num_val=8)
    return folder


@pytest.fixture
def detection(figures, tmp_path):
    return Config.fromfile(write_config(tmp_path / 'detector.py', figures))


def test_a_detector_that_is_right_has_an_ap_of_1(detection, figures):
    annotations = figures / 'annotations' / 'val.json'
    found = evaluate(detection, 'detection', Oracle(annotations, CLASSES), read)
    assert found['coco/bbox_mAP'] == found['coco/bbox_mAP_50'] == 1
    found = evaluate(detection, 'detection', Oracle(annotations, CLASSES, moved=4), read)
    assert 0.2 < found['coco/bbox_mAP'] < found['coco/bbox_mAP_50']
    found = evaluate(detection, 'detection', Oracle(annotations, CLASSES, blind=True), read)
    assert found['coco/bbox_mAP'] < 0.26  # of four classes


def test_poses_that_are_right_have_an_ap_of_1(figures):
    pytest.importorskip('mmpose')
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'keypoint_micronet_m0_demo.py')
    annotations = figures / 'annotations' / 'person_keypoints_val.json'
    cfg.test_dataloader.dataset.data_root = f'{figures}/'
    cfg.test_evaluator.ann_file = str(annotations)
    assert evaluate(cfg, 'keypoints', Oracle(annotations), read)['coco/AP'] == 1
    assert evaluate(cfg, 'keypoints', Oracle(annotations, moved=6), read)['coco/AP'] < 0.9


@pytest.fixture
def colors(tmp_path):
    """A config of a classifier whose test set is blue, green and red pictures, and one more green one named red."""
    for name, color in (*COLORS.items(), ('red', COLORS['green'])):
        folder = tmp_path / 'data' / 'val' / name
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f'{len(list(folder.iterdir()))}.png'), np.full((48, 64, 3), color, np.uint8))
    base = ROOT / 'configs' / 'imagenet_micronet_m0.py'
    path = tmp_path / 'classifier.py'
    path.write_text(f'''
_base_ = {str(base)!r}
test_dataloader = dict(dataset=dict(data_root={str(tmp_path / 'data')!r}, split='', data_prefix='val'))
test_evaluator = dict(topk=(1, ))
''')
    return path


@pytest.fixture
def tool(monkeypatch, tmp_path, capsys):
    """Run the tool; returns what it prints at the end."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['test_exported.py', *map(str, arguments)])
        test_exported.main()
        return capsys.readouterr().out.splitlines()[-1]
    return run


def test_the_tool_on_a_classifier(colors, tool, tmp_path):
    pytest.importorskip('mmpretrain')
    model = write_model(tmp_path / 'tiny.onnx', 'classification')
    assert tool(colors, model, '--json', 'metrics.json') == 'accuracy/top1 75'
    assert json.loads((tmp_path / 'metrics.json').read_text()) == {'accuracy/top1': 75.0}


def test_the_tool_on_a_detector(figures, tool, tmp_path):
    """A file that finds boxes at fixed places: the same numbers as the predictor by itself."""
    config = write_config(tmp_path / 'detector.py', figures)
    model = write_model(tmp_path / 'tiny.onnx', 'detection', classes=CLASSES)
    said = tool(config, model, '--json', 'metrics.json', '--threads', '1')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert said.startswith(f'coco/bbox_mAP {metrics["coco/bbox_mAP"]:.4g}, ')
    assert metrics['coco/bbox_mAP'] < 0.5


@pytest.mark.parametrize(('make', 'arguments', 'error'), [
    (dict(task='keypoints'), (), 'is a model for keypoints, which PoseEstimator runs; Classifier takes one for'),
    (dict(task='classification', classes=['blue', 'red', 'green']), (), "label 1 is 'red' in the file and 'green'"),
    (dict(task='classification', classes=['blue']), (), "label 1 is nothing in the file and 'green' there"),
    (dict(task='classification'), ('--json', 'tiny.onnx'), 'is also the input'),
    (None, (), 'the model tiny.onnx does not exist; name an exported ONNX file'),
], ids=['task', 'order', 'number', 'overwritten', 'missing'])
def test_errors_of_one_line(make, arguments, error, colors, tool, tmp_path):
    pytest.importorskip('mmpretrain')
    if make:
        make = dict(make)
        write_model(tmp_path / 'tiny.onnx', make.pop('task'), **make)
    with pytest.raises(SystemExit) as stop:
        tool(colors, 'tiny.onnx', *arguments)
    assert str(stop.value).startswith('error: ') and error in str(stop.value) and '\n' not in str(stop.value)


def test_classes_that_nobody_named_fit():
    check_classes((), CLASSES)
    check_classes(CLASSES, None)
    check_classes(CLASSES, list(CLASSES))


def test_a_classifier_is_scored_by_its_scores(colors):
    pytest.importorskip('mmpretrain')

    class Blue(Oracle):

        def result(self, image):
            return Classification(image, None, 0, 'blue', 0.8, np.float32([0.8, 0.1, 0.1]))

    cfg = Config.fromfile(colors)
    assert evaluate(cfg, 'classification', Blue(), read) == {'accuracy/top1': 25}
