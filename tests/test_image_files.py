"""Images that are not what their annotations say."""
import json
import shutil

import cv2
import pytest
from mm import write_config
from mmengine.config import Config
from PIL import Image

from micronet_mm.datasets import write_figures
from micronet_mm.engine import image_checks
from micronet_mm.engine.data_checks import check_data

TRAIN, VAL = (['train_dataloader'], []), (['val_dataloader'], ['val_evaluator'])


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=8, num_val=8)
    return root


@pytest.fixture
def data(figures, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(figures, tmp_path / 'figures')


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(image_checks, 'print_log', lambda text, *_: lines.append(text))
    return lines


def spoil(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def check(data, tmp_path, which, text=''):
    cfg = Config.fromfile(write_config(tmp_path / 'tiny.py', data, text))
    cfg.work_dir = str(tmp_path / 'w')
    check_data(cfg, *which)


def images(data, split):
    return sorted((data / split).iterdir())


def test_a_missing_image_ends_an_evaluation_before_it_begins(data, tmp_path, said):
    images(data, 'val')[5].unlink()
    with pytest.raises(ValueError, match=r'^1 of 8 images of .*val\.json are not there, such as .*A metric needs all'):
        check(data, tmp_path, VAL)
    images(data, 'train')[5].unlink()
    check(data, tmp_path, TRAIN)
    assert len(said) == 1 and said[0].startswith('1 of 8 images of ') and said[0].endswith('Training leaves these out.')


@pytest.mark.parametrize('kept', [0, 0.5, -3])
def test_a_broken_image_ends_an_evaluation_before_it_begins(kept, data, tmp_path, said):
    for split in ('train', 'val'):
        path = images(data, split)[3]
        content = path.read_bytes()
        path.write_bytes(content[:kept if kept < 0 else int(kept * len(content))])
    with pytest.raises(ValueError, match=r'^1 of 8 images of .* are broken or cut off, such as .*A metric needs all'):
        check(data, tmp_path, VAL)
    check(data, tmp_path, TRAIN)
    assert len(said) == 1 and 'are broken or cut off' in said[0]


def turn_by_exif(path):
    picture = Image.open(path)
    exif = picture.getexif()
    exif[image_checks.ORIENTATION] = 6
    picture.save(path, exif=exif)


def test_photos_that_are_turned_by_exif(data, tmp_path):
    for path in reversed(images(data, 'train')):
        height, width = cv2.imread(str(path)).shape[:2]
        turn_by_exif(path)
    assert cv2.imread(str(path)).shape[:2] == (width, height)
    with pytest.raises(ValueError, match=rf'the size is {width} x {height} there, and that of .* is {height} x {width}'
                                         ', as of 8 of 8 .*: it is turned by its EXIF when it is loaded'):
        check(data, tmp_path, TRAIN)
    check(data, tmp_path, TRAIN, "train_dataloader['dataset']['pipeline'][0] = dict(type='LoadImageOrSkip', "
                                 "color_type='color_ignore_orientation')")


def test_annotations_of_another_export(data, tmp_path):
    for path in images(data, 'train'):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), None, fx=0.5, fy=0.5))
    with pytest.raises(ValueError, match='give the annotations of these very files'):
        check(data, tmp_path, TRAIN)


def test_boxes_of_corners_and_of_another_scale(data, tmp_path, said):
    path = data / 'annotations' / 'train.json'
    whole = path.read_text()
    spoil(path, lambda c: [entry.update(bbox=[x, y, x + w, y + h]) for entry in c['annotations']
                           for x, y, w, h in [entry['bbox']]])
    with pytest.raises(ValueError, match='they seem to be x1, y1, x2, y2; write x, y, width, height'):
        check(data, tmp_path, TRAIN)
    path.write_text(whole)
    spoil(path, lambda c: [entry.update(bbox=[4 * v + 200 for v in entry['bbox']]) for entry in c['annotations']])
    with pytest.raises(ValueError, match=r'they seem to belong to images .* times as large'):
        check(data, tmp_path, TRAIN)
    path.write_text(whole)
    spoil(path, lambda c: c['annotations'][0].update(bbox=[5, 5, 1000, 20]))
    check(data, tmp_path, TRAIN)
    assert said[-1].endswith('They are cut there.')


def test_names_in_other_capitals_and_from_windows(data, tmp_path):
    path = images(data, 'val')[2]
    path.rename(path.with_name(path.name.upper()))
    with pytest.raises(ValueError, match=rf'{path.name} \(there is {path.name.upper()}, in other capitals\)'):
        check(data, tmp_path, VAL)
    spoil(data / 'annotations' / 'train.json', lambda c: c['images'][1].update(
        file_name='sub\\' + c['images'][1]['file_name']))
    with pytest.raises(ValueError, match='has backslashes; write /'):
        check(data, tmp_path, (['train_dataloader'], ['train_evaluator']))


def test_what_is_stored_elsewhere_is_left_alone(data, tmp_path):
    images(data, 'val')[2].unlink()
    check(data, tmp_path, VAL, "val_dataloader['dataset']['pipeline'][0] = dict(type='LoadImageOrSkip', "
                               "backend_args=dict(backend='petrel'))")
