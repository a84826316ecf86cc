"""Images that are not what their annotations say."""
import json
import os
import shutil
import unicodedata

import cv2
import pytest
from mm import write_config
from mmengine.config import Config
from PIL import Image

from micronet_mm.datasets import write_figures
from micronet_mm.engine.checks import images as image_checks
from micronet_mm.engine.checks.data import check_data

TRAIN, VAL = (['train_dataloader'], []), (['val_dataloader'], ['val_evaluator'])


PLAIN = "train_dataloader['dataset']['pipeline'][0] = dict(type='LoadImageFromFile')"


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
    assert len(said) == 1 and said[0].startswith('1 of 8 images of ') and said[0].endswith('Training skips them.')
    with pytest.raises(ValueError, match=r'Training stops at the first missing image: .*LoadImageOrSkip'):
        check(data, tmp_path, TRAIN, PLAIN)


def test_images_that_are_not_loaded_may_be_missing(data, tmp_path, said):
    images(data, 'val')[5].unlink()
    check(data, tmp_path, VAL, "val_dataloader['dataset']['indices'] = 5")
    with pytest.raises(ValueError, match='indices of the dataset reach to 8, and it has 8 entries'):
        check(data, tmp_path, VAL, "val_dataloader['dataset']['indices'] = [8]")
    assert not said


def test_images_without_people_may_be_missing(data, tmp_path, said):
    pytest.importorskip('mmpose')
    path = data / 'annotations' / 'person_keypoints_val.json'
    content = json.loads(path.read_text())
    of_people = {entry['image_id'] for entry in content['annotations']}
    last = content['images'][-1]
    spoil(path, lambda c: c.update(annotations=[e for e in c['annotations'] if e['image_id'] != last['id']]))
    (data / 'val' / last['file_name']).unlink()
    pose = dict(type='CocoDataset', data_root=str(data), ann_file='annotations/person_keypoints_val.json',
                data_prefix=dict(img='val/'), test_mode=True)
    cfg = Config(dict(default_scope='mmpose', work_dir=str(tmp_path / 'w'), val_dataloader=dict(dataset=pose)))
    check_data(cfg, ['val_dataloader'], ['val_evaluator'])
    (data / 'val' / next(i['file_name'] for i in content['images'] if i['id'] in of_people)).unlink()
    with pytest.raises(ValueError, match='A metric needs all'):
        check_data(cfg, ['val_dataloader'], ['val_evaluator'])


def test_what_a_file_system_finds_but_does_not_list_is_there(data, tmp_path, said, monkeypatch):
    """Names in other capitals on a Mac, and folders that may be entered but not read."""
    monkeypatch.setattr(image_checks, 'files_in', lambda folder: [])
    check(data, tmp_path, VAL)
    assert not said


def test_a_link_that_leads_nowhere(data, tmp_path):
    path = images(data, 'val')[0]
    path.unlink()
    path.symlink_to(tmp_path / 'elsewhere.jpg')
    with pytest.raises(ValueError, match=r'1 of 8 .* \(a link to .*elsewhere.jpg, where nothing is\)'):
        check(data, tmp_path, VAL)


@pytest.mark.parametrize('kept', [0, 0.5, -3])
def test_a_broken_image_ends_an_evaluation_before_it_begins(kept, data, tmp_path, said):
    for split in ('train', 'val'):
        path = images(data, split)[3]
        content = path.read_bytes()
        path.write_bytes(content[:kept if kept < 0 else int(kept * len(content))])
    with pytest.raises(ValueError, match=r'^1 of 8 images of .* are broken or cut off, such as .*A metric needs all'):
        check(data, tmp_path, VAL)
    check(data, tmp_path, TRAIN)
    assert len(said) == 1 and 'are broken or cut off' in said[0] and said[0].endswith('skips them.')
    check(data, tmp_path, TRAIN, PLAIN)
    assert 'Training stops at the first broken image' in said[1]


def turn_by_exif(path):
    picture = Image.open(path)
    exif = picture.getexif()
    exif[image_checks.ORIENTATION] = 6
    picture.save(path, exif=exif)


def test_photos_that_are_turned_by_exif(data, tmp_path, said):
    turn_by_exif(images(data, 'train')[-1])
    check(data, tmp_path, TRAIN)
    assert len(said) == 1 and '1 of 8 opened images differ: it is turned by its EXIF' in said[0]
    for path in reversed(images(data, 'train')[:-1]):
        height, width = cv2.imread(str(path)).shape[:2]
        turn_by_exif(path)
    assert cv2.imread(str(path)).shape[:2] == (width, height)
    with pytest.raises(ValueError, match=rf'the annotated size is {width} x {height}, but .* has {height} x {width}'
                                         '; 8 of 8 opened images differ: it is turned by its EXIF when it is loaded'):
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


def test_boxes_in_images_of_no_size_are_not_left_out_in_silence(data, tmp_path):
    spoil(data / 'annotations' / 'train.json', lambda c: c['images'][1].update(width=0, height=0))
    with pytest.raises(ValueError, match=r'the size \(0.0, 0.0\), and mmdet drops boxes outside it: write the width'):
        check(data, tmp_path, TRAIN)


def test_names_in_other_code_points(data, tmp_path):
    path = images(data, 'val')[2]
    path.rename(path.with_name(unicodedata.normalize('NFD', 'é.jpg')))
    spoil(data / 'annotations' / 'val.json', lambda c: next(
        image for image in c['images'] if image['file_name'] == path.name).update(file_name='é.jpg'))
    if os.path.exists(path.with_name('é.jpg')):
        pytest.skip('the file system takes both for one')
    with pytest.raises(ValueError, match='encoded otherwise; write both in the Unicode form NFC'):
        check(data, tmp_path, VAL)


def test_names_in_other_capitals_and_from_windows(data, tmp_path):
    path = images(data, 'val')[2]
    path.rename(path.with_name(path.name.upper()))
    with pytest.raises(ValueError, match=rf'{path.name} \(there is {path.name.upper()}, in other capitals\)'):
        check(data, tmp_path, VAL)
    spoil(data / 'annotations' / 'train.json', lambda c: c['images'][1].update(
        file_name='sub\\' + c['images'][1]['file_name']))
    with pytest.raises(ValueError, match='has backslashes; write /'):
        check(data, tmp_path, (['train_dataloader'], ['train_evaluator']))


@pytest.mark.parametrize('step', ["type='LoadImageOrSkip', backend_args=dict(backend='petrel')",
                                  "type='LoadImageFromLmdb'"])
def test_what_is_stored_elsewhere_is_left_alone(step, data, tmp_path):
    for path in images(data, 'val'):
        path.unlink()
    check(data, tmp_path, VAL, f"val_dataloader['dataset']['pipeline'][0] = dict({step})")
