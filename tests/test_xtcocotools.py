"""What stands in for xtcocotools gives its numbers."""
import json
from importlib import import_module

import numpy as np
import pytest

pytest.importorskip('pycocotools')
from micronet_mm.fallbacks.xtcocotools.cocoeval import COCOeval

STAND_IN = 'micronet_mm.fallbacks.xtcocotools'
SIGMAS = np.full(17, 0.05)
# What xtcocotools 1.14.3 gives: AP, AP50, AP75.
XTCOCOTOOLS = {
    'area': (0.585041, 0.950495, 0.727038),
    'no area': (0.603957, 0.950495, 0.778661),
    'other sigmas': (0.562007, 0.950495, 0.656756),
}
CASES = {'area': (True, None), 'no area': (False, None), 'other sigmas': (True, SIGMAS)}


def write_people(path, use_area):
    """Annotations that are numbered from 0 and do not say whether they are crowds; results that are near."""
    rng = np.random.default_rng(0)
    annotations, found = [], []
    for index in range(24):
        points = np.concatenate([rng.uniform(0, 90, (17, 2)), rng.integers(0, 3, (17, 1))], 1)
        start, extent = points[:, :2].min(0), np.ptp(points[:, :2], 0)
        annotation = dict(id=index, image_id=index % 8, category_id=1, keypoints=points.flatten().tolist(),
                          bbox=[*start, *extent], num_keypoints=int((points[:, 2] > 0).sum()))
        area = extent.prod() * rng.uniform(0.3, 0.8)
        if use_area:
            annotation['area'] = area
        annotations.append(annotation)
        points[:, :2] += rng.normal(0, 3, (17, 2))
        points[:, 2] = 0 if index == 5 else 0.5  # one has no keypoint at all
        found.append(dict(image_id=index % 8, category_id=1, keypoints=points.flatten().tolist(),
                          score=float(rng.random())))
    images = [dict(id=index, width=100, height=100, file_name=f'{index}.jpg') for index in range(8)]
    path.write_text(json.dumps(dict(images=images, annotations=annotations,
                                    categories=[dict(id=1, name='person')])))
    return found


def evaluate(package, path, use_area, sigmas):
    """AP, AP50 and AP75 by the package's classes, used as mmpose does."""
    found = write_people(path, use_area)
    truth = import_module(f'{package}.coco').COCO(str(path))
    evaluation = import_module(f'{package}.cocoeval').COCOeval(truth, truth.loadRes(found), 'keypoints', sigmas,
                                                               use_area)
    evaluation.params.useSegm = None
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[:3]


@pytest.mark.parametrize('case', CASES)
def test_keypoint_metrics_are_those_of_xtcocotools(case, tmp_path):
    stats = evaluate(STAND_IN, tmp_path / 'truth.json', *CASES[case])
    assert stats == pytest.approx(XTCOCOTOOLS[case], abs=1e-6)


@pytest.mark.parametrize('case', CASES)
def test_xtcocotools_gives_these_numbers(case, tmp_path):
    try:
        from xtcocotools import _mask  # noqa: F401
    except ImportError:
        pytest.skip('xtcocotools is not installed')
    assert evaluate('xtcocotools', tmp_path / 'truth.json', *CASES[case]) == pytest.approx(XTCOCOTOOLS[case], abs=1e-6)


@pytest.mark.parametrize('mode', ['keypoints_crowd', 'keypoints_wholebody'])
def test_other_modes_are_refused_by_name(mode):
    with pytest.raises(ValueError, match=f"iou_type='{mode}' needs xtcocotools, .* has keypoints, bbox, segm"):
        COCOeval(iouType=mode)


def test_masks_are_those_of_pycocotools():
    from micronet_mm.fallbacks.xtcocotools import mask
    picture = np.zeros((5, 4), np.uint8, order='F')
    picture[1:3, 2:] = 1
    assert (mask.decode(mask.encode(picture)) == picture).all() and mask.area(mask.encode(picture)) == 4
