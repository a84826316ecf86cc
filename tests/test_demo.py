"""The demo, whole: what ``make demo`` promises."""
import json
import sys
from pathlib import Path

import _trainings
import demo_path
import demo_report
import pytest
from mm import DEMO, ROOT, call
from mmengine.config import Config
from toy import train, write_toy

from micronet_mm.datasets import write_figures


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


@pytest.fixture
def report(tmp_path, monkeypatch, capsys):
    """Report on the current folder; returns what the tool says."""
    monkeypatch.chdir(tmp_path)

    def report(*options):
        monkeypatch.setattr(sys, 'argv', ['demo_report.py', '.', *options])
        demo_report.main()
        return capsys.readouterr().out
    return report


def test_report_draws_the_last_run(report, tmp_path):
    write_run(tmp_path / '20200101_000000' / 'vis_data')
    assert report().startswith('AP 0.300  AP50 0.625 on held-out images')
    assert (tmp_path / 'curves.png').stat().st_size > 5000
    assert (tmp_path / 'predictions.png').stat().st_size > 5000


def log(folder, *records, end=''):
    (folder / 'vis_data').mkdir(parents=True)
    (folder / 'vis_data' / 'scalars.json').write_text('\n'.join([*map(json.dumps, records), end]))


def test_any_training_is_drawn_with_whatever_it_logged(report, tmp_path, monkeypatch):
    """Here through MMEngine alone: no pictures, and a metric that no host knows."""
    write_toy(tmp_path, """
val_dataloader = dict(batch_size=4, num_workers=0, dataset=_base_.dataset, sampler=dict(type='DefaultSampler'))
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='ToyMetric')
train_cfg = dict(max_epochs=1)
""", images=8)
    assert train(tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path / 'w')
    assert report() == 'count 8.000 on held-out images; see curves.png\n'
    assert (tmp_path / 'w' / 'curves.png').stat().st_size > 5000


def test_a_classifier_and_a_loss_alone(report, tmp_path):
    log(tmp_path / '1', dict(loss=2.0, lr=0.1, iter=1, step=1), dict(loss=1.5, lr=0.1, iter=2, step=2))
    assert report() == 'loss 1.500 on the images to train on; see curves.png\n'
    log(tmp_path / '2', {'accuracy/top1': 98.5, 'accuracy/top5': 100, 'data_time': 0.1, 'time': 0.2, 'step': 5})
    assert report() == 'accuracy/top1 98.500  accuracy/top5 100.000 on held-out images; see curves.png\n'
    assert not (tmp_path / 'predictions.png').exists()


def test_runs_that_were_resumed_are_joined(report, tmp_path):
    """The first is killed in its third epoch, the second goes on from the second checkpoint, twice as well."""
    first = [dict(loss=8.0, lr=0.1, epoch=1 + (i - 1) // 2, iter=i, step=i) for i in range(1, 7)]
    log(tmp_path / '1', *first, *[{'coco/AP': 0.1, 'step': epoch} for epoch in (1, 2, 3)], end='{"loss": 1.')
    log(tmp_path / '2', *[dict(loss=4.0, lr=0.1, epoch=3, iter=i, step=i) for i in (5, 6)], {'coco/AP': 0.2, 'step': 3})
    log(tmp_path / '3', end='{"lo')
    assert report() == 'AP 0.200 on held-out images; see curves.png\n'
    training, validation = demo_report.read_scalars(sorted(tmp_path.glob('*/vis_data/scalars.json')))
    assert demo_report.curves_of(training)['loss'] == ([1, 2, 3, 4, 5, 6], [8, 8, 8, 8, 4, 4])
    assert demo_report.curves_of(validation) == {'coco/AP': ([1, 2, 3], [0.1, 0.1, 0.2])}


def test_pictures_that_were_asked_for_and_files_that_were_read(report, tmp_path):
    write_run(tmp_path / '1' / 'vis_data')
    (tmp_path / '1' / 'vis_data' / 'vis_image' / 'cut_20.png').write_bytes(b'\x89PNG')
    (tmp_path / '1' / 'vis_data' / 'vis_image' / 'not_drawn.png').touch()
    with pytest.raises(SystemExit, match=r'^error: nowhere holds no picture .*[^\n]$'):
        report('--pictures', 'nowhere')
    assert not (tmp_path / 'curves.png').exists()
    assert report().endswith(' see curves.png and predictions.png\n')
    (tmp_path / 'predictions.png').unlink()
    (tmp_path / 'predictions.png').hardlink_to(tmp_path / '1' / 'vis_data' / 'vis_image' / 'val_img_19.png')
    with pytest.raises(SystemExit, match=r'^error: Output predictions\.png is also the input .*val_img_19\.png;'):
        report()


@pytest.mark.parametrize('runs', [0, 1])
def test_report_of_nothing_is_one_line(runs, report, tmp_path):
    if runs:
        log(tmp_path / '1')
    with pytest.raises(SystemExit, match=r'^error: \. holds no <time>/vis_data/scalars\.json with a loss or a metric'):
        report()


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'metric'), [
    ('retinanet_micronet_m3_demo', 'coco/bbox_mAP_50'),
    ('faster_rcnn_micronet_m3_demo', 'coco/bbox_mAP_50'),
    ('micro_det_m3_demo', 'coco/bbox_mAP_50'),
    ('keypoint_micronet_m0_demo', 'coco/AP'),
])
def test_demo_reaches_0_60_on_held_out_images(name, metric, tmp_path):
    write_figures(tmp_path / 'data' / 'figures')
    run = call(ROOT / 'tools' / 'train.py', DEMO.with_stem(name), '--work-dir', 'demo', cwd=tmp_path, timeout=1800)
    assert run.returncode == 0, run.stdout[-2000:]
    scalars, = Path(tmp_path / 'demo').glob('*/vis_data/scalars.json')
    last = json.loads(scalars.read_text().splitlines()[-1])
    assert last[metric] >= 0.60


def test_the_path_is_trained_as_the_digits_demo(tmp_path):
    """Every network of Table 2 in the demo's config, and a training that is complete is read, not repeated."""
    pytest.importorskip('mmpretrain')
    digits = Config.fromfile(demo_path.DEMO)
    for row in demo_path.TABLES['2'].rows:
        cfg = demo_path.config(row, epochs=3, seed=1)
        assert cfg.train_dataloader == digits.train_dataloader and cfg.optim_wrapper == digits.optim_wrapper
        assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.T_max, cfg.randomness.seed) == (3, 3, 1)
        assert cfg.model.backbone == Config.fromfile(ROOT / 'configs' / f'{row.config}.py').model.backbone
        folder = _trainings.prepare(cfg, tmp_path / Path(row.config).name)
        assert Config.fromfile(folder / _trainings.CONFIG).model == cfg.model
        assert _trainings.evaluated(folder, 3) is None
        scalars = folder / '20200101_000000' / 'vis_data' / 'scalars.json'
        scalars.parent.mkdir(parents=True)
        scalars.write_text('{"loss": 1, "lr": 1, "step": 3}\n{"accuracy/top1": 12.5, "step": 2}\n'
                           '{"accuracy/top1": 87.5, "step": 3}\n{"acc')
        assert _trainings.train(folder, 3)['accuracy/top1'] == 87.5


@pytest.mark.slow
def test_the_path_from_mobilenet_to_micronet(tmp_path):
    call(ROOT / 'tools' / 'make_digits.py', 'data/digits', cwd=tmp_path)
    run = call(ROOT / 'tools' / 'demo_path.py', '--epochs', '2', '--seeds', '2', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    lines = (tmp_path / 'work_dirs' / 'demo-path' / 'result.md').read_text().splitlines()[2:]
    assert [line.split(' | ')[0] for line in lines] == [f'| {row.name}' for row in demo_path.TABLES['2'].rows]
    means = [float(line.split(' | ')[1].split()[0]) for line in lines]
    assert min(means) > 20 and means[-1] > 80  # chance has 10
