"""Annotation files in the forms that converters write, which libraries read; and advice that works when followed."""
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mm import write_config
from mmengine.config import Config

pytest.importorskip('mmdet')

from mmengine.registry import DATASETS, init_default_scope
from test_own_data import EVALUATORS, LOADERS, figures, spoil  # noqa: F401

from micronet_mm.commands import train
from micronet_mm.datasets.coco_file import read_coco_file
from micronet_mm.deploy.metadata import describe
from micronet_mm.engine import checks
from micronet_mm.engine.checks import metrics as metric_checks
from micronet_mm.engine.checks.data import check_data
from micronet_mm.engine.checks.model import check_codec, check_consistency
from micronet_runtime.errors import InputError
from micronet_runtime.metadata import parse


@pytest.fixture
def data(figures, tmp_path):  # noqa: F811
    return shutil.copytree(figures, tmp_path / 'figures')


@cache
def parsed(text):
    """The demo's config with data in DATA, and more ``text``; parsing it takes longest here."""
    with TemporaryDirectory() as folder:
        return Config.fromfile(write_config(Path(folder) / 'tiny.py', 'DATA', text))


def placed(node, data):
    """What is parsed, with the name of a folder instead of DATA."""
    if isinstance(node, dict):
        return {key: placed(value, data) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(placed(value, data) for value in node)
    return node.replace('DATA/', f'{data}/') if isinstance(node, str) else node


def check(tmp_path, data, text=''):
    """The checks of tools/train.py."""
    cfg = Config(placed(parsed(text).to_dict(), data))
    cfg.work_dir = str(tmp_path / 'w')
    check_data(cfg, LOADERS, EVALUATORS)
    check_consistency(cfg, LOADERS, EVALUATORS)
    return cfg


def instances(cfg, loader='train_dataloader'):
    """Labels of every image, as the dataset of a checked config has them."""
    init_default_scope('mmdet')
    dataset = DATASETS.build({**cfg[loader].dataset, 'pipeline': [], 'test_mode': True})
    return [[each['bbox_label'] for each in dataset.get_data_info(index)['instances']] for index in range(len(dataset))]


def every(name, **values):
    return lambda content: [entry.update(values) for entry in content[name]]


@pytest.mark.parametrize('change', [
    every('annotations', iscrowd=False), every('annotations', iscrowd=0.0), every('annotations', iscrowd=None),
    every('annotations', area=0), every('annotations', area=float('nan')), every('annotations', area=float('inf')),
    every('annotations', score=float('nan'), ignore=False, attributes=dict(occluded=False)),
    lambda c: [image.update({key: float(image[key]) for key in ('width', 'height')}) for image in c['images']],
    every('images', date_captured=None, license=float('nan')),
    lambda c: [entry.update({key: float(entry[key]) for key in ('id', 'image_id', 'category_id')})
               for entry in c['annotations']],
    lambda c: [entry.update(id=float(entry['id'])) for name in ('images', 'categories') for entry in c[name]],
    lambda c: [entry.update(category_id=str(entry['category_id'])) for entry in c['annotations']],
], ids=['iscrowd false', 'iscrowd 0.0', 'iscrowd null', 'area 0', 'area NaN', 'area infinite', 'more fields',
        'sizes as floats', 'NaN elsewhere', 'ids as floats', 'listed ids as floats', 'category ids as text'])
def test_what_libraries_read_is_read(change, data, tmp_path):
    expected = instances(check(tmp_path, data))
    spoil(data / 'annotations' / 'train.json', change)
    assert instances(check(tmp_path, data)) == expected


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_text_that_libraries_cannot_decode_is_repaired(encoding, data, tmp_path):
    path = data / 'annotations' / 'train.json'
    expected = instances(check(tmp_path, data))
    path.write_bytes(path.read_text().encode(encoding))
    assert instances(check(tmp_path, data)) == expected


@pytest.mark.parametrize(('values', 'message'), [
    (dict(id=1.5), r'annotations\[0\]\.id: expected `int \| str`, got `float`'),
    (dict(category_id=1.5), r'annotations\[0\]\.category_id: expected'),
    (dict(iscrowd='0'), r'annotations\[0\]\.iscrowd: expected'),
    (dict(bbox=[1, 2, None, 4]), r'annotations\[0\]\.bbox\[2\]: expected `float`, got `null`'),
    (dict(bbox=[1, 2, float('nan'), 4]), r'annotations\[0\]\.bbox: the box .* is not finite'),
])
def test_what_libraries_misread_is_refused(values, message, data):
    path = data / 'annotations' / 'train.json'
    spoil(path, lambda content: content['annotations'][0].update(values))
    with pytest.raises(ValueError, match=message):
        read_coco_file(path)


def test_boxes_that_are_shares_are_refused(data, tmp_path):
    spoil(data / 'annotations' / 'train.json', every('annotations', bbox=[0.1, 0.2, 0.5, 0.5]))
    with pytest.raises(ValueError, match=r'shares of width and height, such as .*: write x, y, width and height in'):
        check(tmp_path, data)


@pytest.mark.parametrize('change', [lambda c: c.pop('annotations'), lambda c: c['annotations'].clear()])
def test_a_test_set_without_annotations_can_be_written_out(change, data, tmp_path):
    spoil(data / 'annotations' / 'val.json', change)
    cfg = check(tmp_path, data, "val_evaluator.update(format_only=True, outfile_prefix='found')")
    assert instances(cfg, 'val_dataloader') == [[], []]
    with pytest.raises(ValueError, match='lists no annotations'):
        check(tmp_path, data)


def test_a_category_that_is_there_twice_is_one(data, tmp_path):
    """As Roboflow writes it: category 0 has the name of the data set, which may be that of a class."""
    expected = instances(check(tmp_path, data))
    for split in ('train', 'val'):
        spoil(data / 'annotations' / f'{split}.json',
              lambda c: c['categories'].insert(0, dict(id=0, name='person', supercategory='none')))
    assert instances(check(tmp_path, data)) == expected


def test_advice_leaves_out_what_only_groups_classes(data, tmp_path):
    spoil(data / 'annotations' / 'train.json',
          lambda c: c['categories'].insert(0, dict(id=0, name='figure', supercategory='none')))
    with pytest.raises(ValueError, match=r"no category 'disk', .* are \('person', 'disc', 'square', 'triangle'\)"):
        check(tmp_path, data, "metainfo['classes'] = ('person', 'disk', 'square', 'triangle')")


def test_advice_about_an_order_can_be_followed(data, tmp_path):
    """Where the other file has the order that was."""
    expected = instances(check(tmp_path, data), 'val_dataloader')
    spoil(data / 'annotations' / 'train.json', lambda c: c['categories'].reverse())
    with pytest.raises(ValueError, match='another order') as error:
        check(tmp_path, data)
    advice = str(error.value).partition('classes=')[2].rstrip(').') + ')'
    cfg = check(tmp_path, data, f"metainfo['classes'] = {advice}")
    assert instances(cfg, 'val_dataloader') == [[3 - label for label in labels] for labels in expected]


def test_advice_about_metainfo_that_one_loader_lacks(figures, tmp_path):  # noqa: F811
    """More classes for the head would make one with dead classes."""
    cfg = Config.fromfile(write_config(tmp_path / 'tiny.py', figures))
    del cfg.val_dataloader.dataset['metainfo']
    message = r'val_dataloader has 80 classes: the data of train_dataloader has 4; give both datasets the same metai'
    with pytest.raises(ValueError, match=message):
        check_consistency(cfg, ['train_dataloader', 'val_dataloader'], [])
    del cfg.train_dataloader.dataset['metainfo']
    with pytest.raises(ValueError, match='CocoDataset has these classes by default; name the classes of your data'):
        check_consistency(cfg, ['train_dataloader', 'val_dataloader'], [])


def test_classes_in_another_order_elsewhere(figures, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match="label 0 is 'triangle' in val_dataloader and 'person' in train_dataloader"):
        check(tmp_path, figures, "val_dataloader['dataset']['metainfo'] = dict(\n"
                                 "    classes=('triangle', 'square', 'disc', 'person'))")


def test_advice_about_sizes_that_no_stride_divides():
    cfg = Config(dict(model=dict(head=dict(type='MicroHeatmapHead', decoder=dict(
        type='MSRAHeatmap', input_size=(98, 128), heatmap_size=(24, 32))))))
    with pytest.raises(ValueError, match=r'set input_size=\(96, 128\) and heatmap_size=\(24, 32\)'):
        check_codec(cfg, [])


@pytest.mark.parametrize(('classes', 'message'), [
    (('person', 'disc', 'disc', 'square', 'triangle'), "have 'disc' more than once: name each class once"),
    ((1, 2), 'has no category 1, which is one of the classes'),
])
def test_classes_that_cannot_be_meant(classes, message, figures, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match=message):
        check(tmp_path, figures, f"metainfo['classes'] = {classes}")


def test_names_that_are_numbers(data, tmp_path):
    """In the file, in the config, or in both."""
    expected = instances(check(tmp_path, data))
    spoil(data / 'annotations' / 'train.json', lambda c: [each.update(name=each['id']) for each in c['categories']])
    spoil(data / 'annotations' / 'val.json', lambda c: [each.update(name=str(each['id'])) for each in c['categories']])
    for names in ((1, 2, 3, 4), ('1', '2', '3', '4')):
        cfg = check(tmp_path, data, f"metainfo['classes'] = {names}")
        assert instances(cfg) == expected


def test_classes_in_a_file(data, tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('person\ndisc\nsquare\ntriangle\n')
    text = f"metainfo['classes'] = {str(path)!r}"
    cfg = check(tmp_path, data, text)
    model = type('Model', (), dict(test_cfg={}, dataset_meta=None))
    found = describe(cfg, 'detection', model, None, None, True, '1', False)
    assert found['classes'] == ['person', 'disc', 'square', 'triangle'] and found['person'] == 0
    cfg.val_dataloader.dataset.metainfo = cfg.test_dataloader.dataset.metainfo = dict(classes=[1, 2, 3])
    assert describe(cfg, 'detection', model, None, None, True, '1', False)['classes'] == ['1', '2', '3']
    path.write_text('person\ndisk\n')
    with pytest.raises(ValueError, match=r"no category 'disk', .* did you mean 'disc'"):
        check(tmp_path, data, text)
    path.write_text('person\ndisc\n')
    with pytest.raises(ValueError, match='num_classes=4, but the data of train_dataloader has 2 classes'):
        check(tmp_path, data, text)


def test_metadata_whose_classes_are_one_text():
    given = dict(format=1, task='classification', version='1', classes='classes.txt', preprocess=[], input=dict(
        size=None, batch=None, color='rgb', mean=[0] * 3, std=[1] * 3, normalization='inside'))
    with pytest.raises(InputError, match=r"classes is 'classes\.txt'"):
        parse(json.dumps(given), 'a.onnx')
    assert parse(json.dumps(dict(given, classes=[1, 'b'])), 'a.onnx').classes == ('1', 'b')


def test_checks_can_be_left_out(data, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(checks, 'print_log', lambda text, *_: said.append(text))
    spoil(data / 'annotations' / 'train.json', lambda c: c['categories'].reverse())
    config = write_config(tmp_path / 'tiny.py', data)
    arguments = ['train.py', str(config), '--work-dir', str(tmp_path / 'w')]
    monkeypatch.setattr('sys.argv', arguments)
    with pytest.raises(ValueError, match='another order'):
        train.prepare(train.parse_args())
    monkeypatch.setattr('sys.argv', [*arguments, '--no-checks'])
    cfg = train.prepare(train.parse_args())
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/train.json'
    assert len(said) == 1 and said[0].startswith('--no-checks: data and config are not checked')


def test_files_that_no_metric_reads_are_named(figures, tmp_path, monkeypatch):  # noqa: F811
    said = []
    monkeypatch.setattr(metric_checks, 'print_log', lambda text, *_: said.append(text))
    cfg = Config.fromfile(write_config(tmp_path / 'tiny.py', figures))
    cfg.work_dir = str(tmp_path)
    val = cfg.val_dataloader.dataset
    train_set = dict(val, ann_file='annotations/train.json', data_prefix=dict(img='train/'))
    cfg.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[val, train_set])
    check_data(cfg, ['val_dataloader'], ['val_evaluator'])
    assert len(said) == 1 and 'train.json as well, which no metric of val_evaluator reads' in said[0]
