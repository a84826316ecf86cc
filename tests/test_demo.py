"""The demo, whole: what ``make demo`` promises."""
import json
from pathlib import Path

import pytest
from mm import DEMO, ROOT, call

from micronet_mm.datasets import write_figures

REPORT = ROOT / 'tools' / 'demo_report.py'


def write_run(folder):
    """A run as MMEngine's visualizer leaves it."""
    import cv2
    import numpy as np
    (folder / 'vis_image').mkdir(parents=True)
    records = [dict(loss=2.0 / i, loss_cls=1.0 / i, lr=0.1, step=i) for i in range(1, 9)]
    records += [{'coco/bbox_mAP': 0.3, 'coco/bbox_mAP_50': 0.625, 'coco/bbox_mAP_s': -1, 'step': 2}]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    for step in range(20):
        cv2.imwrite(str(folder / 'vis_image' / f'val_img_{step}.png'), np.full((20, 40, 3), step, np.uint8))


def test_report_draws_the_last_run(tmp_path):
    write_run(tmp_path / '20200101_000000' / 'vis_data')
    run = call(REPORT, '.', cwd=tmp_path)
    assert run.stdout.startswith('AP 0.300  AP50 0.625 on held-out images')
    assert (tmp_path / 'curves.png').stat().st_size > 5000
    assert (tmp_path / 'predictions.png').stat().st_size > 5000


def test_report_of_nothing_is_one_line(tmp_path):
    run = call(REPORT, '.', cwd=tmp_path)
    assert run.returncode == 1 and run.stdout.startswith('error: . holds no') and run.stdout.count('\n') == 1


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'metric'), [
    ('retinanet_micronet_m3_demo', 'coco/bbox_mAP_50'),
    ('faster_rcnn_micronet_m3_demo', 'coco/bbox_mAP_50'),
    ('keypoint_micronet_m0_demo', 'coco/AP'),
])
def test_demo_reaches_0_60_on_held_out_images(name, metric, tmp_path):
    write_figures(tmp_path / 'data' / 'figures')
    run = call(ROOT / 'tools' / 'train.py', DEMO.with_stem(name), '--work-dir', 'demo', cwd=tmp_path, timeout=1800)
    assert run.returncode == 0, run.stdout[-2000:]
    scalars, = Path(tmp_path / 'demo').glob('*/vis_data/scalars.json')
    last = json.loads(scalars.read_text().splitlines()[-1])
    assert last[metric] >= 0.60
