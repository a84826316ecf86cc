"""What a dataset and a metric take from one annotation file: predictors that know the truth have an AP of 1."""
import json
from copy import deepcopy
from pathlib import Path

import pytest
from mm import ROOT, write_config
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('mmdet')

from test_evaluation import Oracle, read

from micronet_mm.datasets import CLASSES, write_figures
from micronet_mm.engine.checks.data import check_data
from micronet_mm.engine.exported import evaluate


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('figures') / 'data'
    write_figures(folder, num_train=1, num_val=8)
    return folder


@pytest.fixture(scope='module')
def detector(figures, tmp_path_factory):
    return Config.fromfile(write_config(tmp_path_factory.mktemp('config') / 'detector.py', figures))


@pytest.fixture(scope='module')
def keypoints():
    return Config.fromfile(ROOT / 'configs' / 'demo' / 'keypoint_micronet_m0_demo.py')


class Knows(Oracle):
    """Finds what is annotated in a file, with labels by the names of categories."""

    def __init__(self, content, classes=CLASSES):
        super().__init__(classes=classes)
        self.images = {image['id']: image['file_name'] for image in content['images']}
        labels = {category['id']: classes.index(category['name']) for category in content['categories']
                  if category['name'] in classes}
        self.found = [dict(each, category_id=labels[each['category_id']] + 1) for each in content['annotations']
                      if each['category_id'] in labels and each['image_id'] in self.images]


@pytest.fixture
def says(monkeypatch):
    said = []
    for module in ('micronet_mm.datasets.coco_file', 'micronet_mm.datasets.coco_repairs',
                   'micronet_mm.engine.checks.metrics'):
        monkeypatch.setattr(f'{module}.print_log', lambda text, *_: said.append(text))
    return said


def changed(figures, tmp_path, name, change):
    """A copy of an annotation file that ``change`` was applied to, and its content before."""
    content = json.loads((figures / 'annotations' / f'{name}.json').read_text())
    before = json.loads(json.dumps(content))
    change(content)
    path = tmp_path / f'{name}.json'
    path.write_text(json.dumps(content))
    return path, before, content


@pytest.fixture
def detect(figures, detector, tmp_path, says):
    """AP of a detector that knows a file that ``change`` was applied to."""
    def ap(change=lambda content: None, oracle=None, classes=CLASSES, metric=None, **settings):
        path, before, after = changed(figures, tmp_path, 'val', change)
        cfg = deepcopy(detector)
        cfg.work_dir = str(tmp_path / 'w')
        cfg.test_dataloader.dataset.update(ann_file=str(path), metainfo=dict(classes=classes), **settings)
        cfg.test_evaluator.update(dict(ann_file=str(path)) | (metric or {}))
        check_data(cfg, ['test_dataloader'], ['test_evaluator'])
        assert json.loads(path.read_text()) == after or 'NaN' in path.read_text()
        return evaluate(cfg, 'detection', Knows(before if oracle is None else oracle(before), classes), read)
    return ap


@pytest.fixture
def pose(figures, keypoints, tmp_path, says):
    """AP of poses that are those of a file that ``change`` was applied to."""
    pytest.importorskip('mmpose')

    def ap(change=lambda content: None, oracle=None, metric=None, **settings):
        path, before, _ = changed(figures, tmp_path, 'person_keypoints_val', change)
        cfg = deepcopy(keypoints)
        cfg.work_dir = str(tmp_path / 'w')
        cfg.test_dataloader.dataset.update(data_root=f'{figures}/', ann_file=str(path), **settings)
        cfg.test_evaluator.update(dict(ann_file=str(path)) | (metric or {}))
        check_data(cfg, ['test_dataloader'], ['test_evaluator'])
        return evaluate(cfg, 'keypoints', Knows(oracle(before) if oracle else before, ['person']), read)['coco/AP']
    return ap


def each(**values):
    return lambda content: [entry.update(values) for entry in content['annotations']]


def first(**values):
    return lambda content: content['annotations'][0].update(values)


def without(*keys):
    return lambda content: [entry.pop(key) for entry in content['annotations'] for key in keys]


def from_zero(content):
    for index, entry in enumerate(content['annotations']):
        entry['id'] = index


def text_ids(content):
    for image in content['images']:
        image['id'] = str(image['id'])


def text_categories(content):
    for entry in content['annotations']:
        entry['category_id'] = str(entry['category_id'])


def all_text(content):
    text_ids(content)
    for entry in content['annotations']:
        entry.update(image_id=str(entry['image_id']), id=str(entry['id']))


def outside(content):
    content['annotations'].append(dict(content['annotations'][0], id=999, bbox=[-50, -50, 20, 20], area=400))


def void(content):
    content['annotations'].append(dict(content['annotations'][0], id=999, bbox=[5, 5, 0, 20], area=0))


def floats(content):
    for entry in content['annotations']:
        entry.update({key: float(entry[key]) for key in ('id', 'image_id', 'category_id')}, iscrowd=False)
    for image in content['images']:
        image.update(id=float(image['id']), width=float(image['width']))


def twice_person(content):
    """As Roboflow exports it: the name of the dataset is category 0."""
    content['categories'].insert(0, dict(id=0, name='person', supercategory='none'))


def split_person(content):
    content['categories'].append(dict(id=9, name='person'))
    content['annotations'][0]['category_id'] = 9 if content['annotations'][0]['category_id'] == 1 else (
        content['annotations'][0]['category_id'])


@pytest.mark.parametrize('change', [
    lambda content: None, each(area=0), each(area=-1.0), first(area=float('nan')), first(area=None), from_zero,
    text_ids, text_categories, all_text, outside, void, floats, twice_person, split_person, without('iscrowd'),
    lambda content: content['categories'].reverse(),
    lambda content: content['annotations'].append(dict(content['annotations'][0], id=999, ignore=1)),
], ids=['nothing', 'area 0', 'area -1', 'area NaN', 'area null', 'ids from 0', 'image ids as text',
        'category ids as text', 'all ids as text', 'a box outside', 'a box of no area', 'floats', 'a category twice',
        'a category split', 'no iscrowd', 'order of categories', 'ignore'])
def test_boxes_that_are_right_have_an_ap_of_1(change, detect):
    assert detect(change)['coco/bbox_mAP'] == 1


@pytest.mark.parametrize('settings', [
    dict(indices=2), dict(indices=-3), dict(indices=[5, 1])])
def test_a_metric_counts_the_images_of_its_dataset(settings, detect, says):
    assert detect(**settings)['coco/bbox_mAP'] == 1
    assert 'of the 8 images' in says[0] and len(says) == 1


def test_a_metric_counts_the_images_that_a_filter_leaves(figures, detector, tmp_path):
    """Which mmdet applies unless test_mode is set."""
    path, _, _ = changed(figures, tmp_path, 'val', lambda content: content['images'][0].update(width=20))
    cfg = deepcopy(detector)
    cfg.work_dir = str(tmp_path / 'w')
    cfg.test_dataloader.dataset.update(ann_file=str(path), filter_cfg=dict(min_size=32), test_mode=False)
    cfg.test_evaluator.ann_file = str(path)
    check_data(cfg, ['test_dataloader'], ['test_evaluator'])
    init_default_scope('mmdet')
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': []})
    counted = json.loads(Path(cfg.test_evaluator.ann_file).read_text())['images']
    assert [image['id'] for image in counted] == [dataset.get_data_info(index)['img_id'] for index in range(7)]


@pytest.mark.parametrize(('metric', 'dataset', 'message'), [
    (dict(type='Accuracy'), dict(type='mmpretrain.MultiLabelDataset', ann_file='a.json'), 'use MultiLabelMetric'),
    (dict(type='PCKAccuracy', norm_item=['bbox', 'head']), dict(type='mmpose.CocoDataset'), "use norm_item='bbox'"),
])
def test_metrics_that_ask_for_what_datasets_do_not_give(metric, dataset, message, says):
    pytest.importorskip('mmpose')
    pytest.importorskip('mmpretrain')
    cfg = Config(dict(default_scope=dataset['type'].partition('.')[0], val_dataloader=dict(dataset=dataset),
                      val_evaluator=metric))
    check_data(cfg, ['val_dataloader'], ['val_evaluator'])
    assert len(says) == 1 and message in says[0]


@pytest.mark.parametrize('settings', [
    dict(indices=3), dict(indices=-1), dict(indices=[4, 0]), dict(sample_interval=3)])
def test_a_metric_counts_the_people_of_its_dataset(settings, pose, says):
    assert pose(**settings) == pytest.approx(1)
    assert 'of the 8 images' in says[0] and len(says) == 1


def test_a_metric_without_a_file_counts_the_people_of_its_dataset(pose):
    assert pose(indices=3, metric=dict(ann_file=None)) == pytest.approx(1)


@pytest.mark.parametrize('change', [
    lambda content: None, each(area=0), each(area=float('nan')), without('area', 'iscrowd'), without('num_keypoints'),
    each(num_keypoints=0), from_zero, text_ids, all_text, outside, floats,
    lambda content: content['annotations'].append({key: value for key, value in dict(
        content['annotations'][0], id=999).items() if key not in ('keypoints', 'num_keypoints')}),
    lambda content: content['annotations'].append(dict(content['annotations'][0], id=999, keypoints=[0] * 51)),
], ids=['nothing', 'area 0', 'area NaN', 'no area', 'no num_keypoints', 'num_keypoints 0', 'ids from 0',
        'image ids as text', 'all ids as text', 'a box outside', 'floats', 'no keypoints', 'keypoints 0'])
def test_poses_that_are_right_have_an_ap_of_1(change, pose):
    assert pose(change) == pytest.approx(1)


def test_detected_people_of_a_part_of_the_images(figures, pose, says, tmp_path):
    """As of COCO, whose file of detections is for all images of a split; and of another category than 1."""
    content = json.loads((figures / 'annotations' / 'person_keypoints_val.json').read_text())
    found = [dict(image_id=entry['image_id'], category_id=1, bbox=entry['bbox'], score=0.9)
             for entry in content['annotations']]
    (tmp_path / 'people.json').write_text(json.dumps(found))

    def half(content):
        content['images'] = content['images'][::2]
        kept = {image['id'] for image in content['images']}
        content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] in kept]
        content['categories'][0]['id'] = 3
        each(category_id=3)(content)

    assert pose(half, bbox_file=str(tmp_path / 'people.json'),
                oracle=lambda before: half(before) or before) == pytest.approx(1)
    assert any('detected people are in images that' in text for text in says)


def test_images_that_are_repeated_count_once(detector, says, figures, tmp_path):
    cfg = deepcopy(detector)
    cfg.work_dir = str(tmp_path / 'w')
    cfg.test_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=cfg.test_dataloader.dataset)
    check_data(cfg, ['test_dataloader'], ['test_evaluator'])
    content = json.loads((figures / 'annotations' / 'val.json').read_text())
    assert evaluate(cfg, 'detection', Knows(content), read)['coco/bbox_mAP'] == 1
    assert 'test_dataloader repeats images with RepeatDataset' in says[0]


def test_a_metric_may_read_an_equal_file_elsewhere(detect, figures, tmp_path):
    other = tmp_path / 'equal.json'
    other.write_bytes((figures / 'annotations' / 'val.json').read_bytes())
    assert detect(metric=dict(ann_file=str(other)), indices=2)['coco/bbox_mAP'] == 1


def test_a_test_file_in_another_order_and_without_a_class(detect):
    """Its labels are the config's, which the model was trained with."""
    def change(content):
        content['categories'] = [each for each in content['categories'][::-1] if each['name'] != 'disc']
        content['annotations'] = [each for each in content['annotations'] if each['category_id'] != 2]

    assert detect(change, oracle=lambda before: change(before) or before)['coco/bbox_mAP'] == 1


def test_a_part_of_the_classes(detect):
    assert detect(classes=('person', 'square'))['coco/bbox_mAP'] == 1


def test_masks_that_are_not_there(detect):
    with pytest.raises(ValueError, match=r"test_evaluator computes 'segm', but \d+ of \d+ annotations of .*val\.json "
                                         r"have no segmentation, such as annotations\[0\]"):
        detect(metric=dict(metric=['bbox', 'segm']))


@pytest.mark.parametrize(('change', 'message'), [
    (each(iscrowd=1), 'every annotation is a crowd or has no labelled keypoint, and AP is -1'),
    (each(area=1e7), 'most areas are larger than their boxes'),
    (lambda c: c['annotations'].append(dict(c['annotations'][0], id=99, bbox=[5, 5, 0.5, 9])),
     '1 boxes are thinner than a pixel, which the dataset leaves out and the metric counts'),
], ids=['crowds', 'areas', 'thin'])
def test_what_makes_a_number_mean_little_is_said(change, message, detect, says):
    detect(change)
    assert message in says[-1]


def test_more_people_than_the_metric_looks_at(pose, says):
    def crowd(content):
        content['annotations'] += [dict(content['annotations'][0], id=100 + index) for index in range(21)]

    pose(crowd)
    assert "people, and COCO's metric counts only the best 20" in says[-1]
