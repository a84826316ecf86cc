"""The generated dataset is valid COCO and depends on its seed alone."""
import json

import cv2
import numpy as np
import pytest

from micronet_mm.datasets import CLASSES, write_figures
from micronet_mm.datasets.skeleton import KEYPOINTS


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('figures') / 'data'
    write_figures(root, num_train=30, num_val=10, seed=3)
    return root


@pytest.fixture(scope='module')
def train(root):
    return json.loads((root / 'annotations' / 'train.json').read_text())


def test_images_and_annotations_agree(root, train):
    assert len(train['images']) == 30 == len(list((root / 'train').iterdir()))
    assert len(list((root / 'val').iterdir())) == 10
    sizes = {}
    for image in train['images']:
        height, width = cv2.imread(str(root / 'train' / image['file_name'])).shape[:2]
        assert (height, width) == (image['height'], image['width'])
        sizes[image['id']] = (width, height)
    ids = [a['id'] for a in train['annotations']]
    assert len(set(ids)) == len(ids)
    for a in train['annotations']:
        x, y, w, h = a['bbox']
        width, height = sizes[a['image_id']]
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height and 0 < a['area'] <= w * h
    assert {a['category_id'] for a in train['annotations']} == set(range(1, len(CLASSES) + 1))


def test_people_carry_coco_keypoints(train):
    assert train['categories'][0]['keypoints'] == list(KEYPOINTS)
    sizes = {i['id']: (i['width'], i['height']) for i in train['images']}
    flags_seen = set()
    for a in train['annotations']:
        assert ('keypoints' in a) is (a['category_id'] == 1)
        if 'keypoints' in a:
            points = np.array(a['keypoints']).reshape(17, 3)
            assert a['num_keypoints'] == (points[:, 2] > 0).sum()
            assert (points[points[:, 2] == 0] == 0).all()
            assert ((points[:, :2] <= np.array(sizes[a['image_id']])).all())
            seen = points[points[:, 2] == 2, :2]
            x, y, w, h = a['bbox']
            assert ((seen >= (x - 3, y - 3)) & (seen <= (x + w + 3, y + h + 3))).all()
            flags_seen |= set(points[:, 2].tolist())
    assert flags_seen == {0.0, 1.0, 2.0}  # outside, hidden and seen all occur


def test_same_seed_same_bytes_and_longer_begins_with_shorter(root, tmp_path):
    write_figures(tmp_path / 'again', num_train=5, num_val=1, seed=3)
    write_figures(tmp_path / 'other', num_train=5, num_val=1, seed=4)
    for i in range(5):
        name = f'train/{i:06d}.jpg'
        assert (root / name).read_bytes() == (tmp_path / 'again' / name).read_bytes()
        assert (root / name).read_bytes() != (tmp_path / 'other' / name).read_bytes()


def test_train_and_val_differ(root):
    assert (root / 'train' / '000000.jpg').read_bytes() != (root / 'val' / '000000.jpg').read_bytes()


def test_a_dataset_is_replaced_but_nothing_else(tmp_path):
    write_figures(tmp_path / 'data', num_train=1, num_val=1)
    write_figures(tmp_path / 'data', num_train=2, num_val=1)
    assert len(list((tmp_path / 'data' / 'train').iterdir())) == 2
    assert [p.name for p in tmp_path.iterdir()] == ['data']
    for folder in ('annotations', 'train', 'val'):  # somebody's own dataset
        (tmp_path / 'mine' / folder).mkdir(parents=True)
    (tmp_path / 'mine' / 'annotations' / 'train.json').write_text('{"info": {"description": "mine"}}')
    with pytest.raises(FileExistsError, match='something other'):
        write_figures(tmp_path / 'mine')
    assert (tmp_path / 'mine' / 'annotations' / 'train.json').exists()


def test_keypoints_can_be_evaluated(root):
    coco = pytest.importorskip('xtcocotools.coco')
    from xtcocotools.cocoeval import COCOeval
    truth = coco.COCO(str(root / 'annotations' / 'person_keypoints_val.json'))
    found = [dict(image_id=a['image_id'], category_id=1, keypoints=a['keypoints'], score=1.0)
             for a in truth.anns.values()]
    evaluation = COCOeval(truth, truth.loadRes(found), 'keypoints')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
