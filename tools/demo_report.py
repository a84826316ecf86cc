#!/usr/bin/env python
"""Draw what a training run left behind: curves.png (losses and every metric) and predictions.png (truth beside
prediction), the latter if pictures were drawn.

Reads the scalars and the validation pictures that MMEngine's visualizer writes to WORK_DIR/<time>/vis_data, of all runs
in the work dir, or pictures from a folder such as tools/draw_poses.py fills.
"""
import argparse
import json
from contextlib import suppress
from pathlib import Path

import _process  # noqa: F401
import cv2
import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from micronet_mm.checkpoint.atomic import refuse_to_overwrite, written_atomically
from micronet_mm.engine.cli import one_line_errors

Records = dict[int, dict]  # what was logged at a step: iterations in training, in validation mostly epochs
NO_METRIC = ('step', 'epoch', 'iter', 'time', 'data_time', 'memory')


def read_scalars(files: list[Path]) -> tuple[Records, Records]:
    """Training and validation by step. What a resumed run did again counts as that run has it.

    Args:
        files: one of each run, in the order of the runs.
    """
    training: Records = {}
    validation: Records = {}
    for file in files:
        trained, validated = Records(), Records()
        for line in file.read_text(errors='replace').splitlines():
            with suppress(ValueError):  # a run that is killed leaves half a line
                record = json.loads(line)
                kind = trained if 'iter' in record or 'lr' in record else validated
                kind.setdefault(record['step'], {}).update(record)
        if trained:
            first = next(iter(trained.values()))
            training = {step: record for step, record in training.items() if step < first['step']}
            validation = {step: record for step, record in validation.items()
                          if step < first.get('epoch', first['step'])}
        training.update(trained)
        for step, record in validated.items():
            validation.setdefault(step, {}).update(record)
    return training, validation


def curves_of(records: Records) -> dict[str, tuple[list, list]]:
    """Name -> steps and values of each number in the records."""
    curves: dict[str, tuple[list, list]] = {}
    for step, record in sorted(records.items()):
        for name, value in record.items():
            absent = value == -1 and name.startswith('coco/')  # COCO's word for a size of which there are no objects
            if isinstance(value, (int, float)) and name.rpartition('/')[2] not in NO_METRIC and not absent:
                steps, values = curves.setdefault(name, ([], []))
                steps.append(step)
                values.append(value)
    return curves


def label_of(metric: str) -> str:
    """The name of a metric; COCO's are known without the rest."""
    return metric.removeprefix('coco/').replace('bbox_mAP_', 'AP').replace('bbox_mAP', 'AP')


def draw_curves(losses: dict, metrics: dict, unit: str, target: Path) -> None:
    """Losses over iterations and metrics over epochs, one panel for each kind of metric, side by side."""
    panels: dict[str, dict] = {}
    for name, curve in metrics.items():
        panels.setdefault(name.rpartition('/')[0] or name, {})[name] = curve
    count = bool(losses) + len(panels)
    figure, axes = plt.subplots(1, count, figsize=(5.5 * count, 4), squeeze=False, constrained_layout=True)
    axes = list(axes.flat)
    if losses:
        axes[0].set(xlabel='iteration', ylabel='training loss')
        for name, curve in losses.items():
            axes[0].plot(*curve, label=name)
    for axis, (kind, curves) in zip(axes[bool(losses):], panels.items()):
        axis.set(xlabel=unit, ylabel=f'{kind}, held-out images')
        for name, curve in curves.items():
            axis.plot(*curve, marker='o', label=label_of(name))
    for axis in axes:
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
        axis.legend()
    save(figure, target, dpi=120)


def draw_predictions(pictures: list[np.ndarray], target: Path) -> None:
    """The pictures as one sheet, two in a row; each shows truth on the left and prediction on the right."""
    rows = (len(pictures) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(13, 3.3 * rows), squeeze=False, constrained_layout=True)
    for axis in axes.flat:
        axis.axis('off')
    for axis, picture in zip(axes.flat, pictures):
        axis.imshow(picture[..., ::-1])
        axis.set_title('truth | prediction', fontsize=9)
    save(figure, target, dpi=100)


def save(figure: plt.Figure, target: Path, dpi: int) -> None:
    with written_atomically(target) as file:
        figure.savefig(file, format='png', dpi=dpi)
    plt.close(figure)


def last_pictures(folder: Path, count: int = 8) -> dict[Path, np.ndarray]:
    """The pictures drawn last that can be read, by file; their names end in the step."""
    files = [file for file in folder.glob('*_*.png') if file.stem.rpartition('_')[2].isdecimal()]
    pictures: dict[Path, np.ndarray] = {}
    for file in sorted(files, key=lambda file: int(file.stem.rpartition('_')[2]), reverse=True):
        picture = cv2.imread(str(file)) if len(pictures) < count else None
        if picture is not None:
            pictures[file] = picture
    return dict(reversed(pictures.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--pictures', type=Path, metavar='DIR', help='take the pictures from there')
    args = parser.parse_args()
    work_dir = args.work_dir
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    training, validation = read_scalars(files)
    losses = {name: curve for name, curve in curves_of(training).items() if 'loss' in name}
    metrics = curves_of(validation)
    folders = [args.pictures] if args.pictures else [file.with_name('vis_image') for file in reversed(files)]
    pictures = next(filter(None, map(last_pictures, folders)), {})
    curves, predictions = work_dir / 'curves.png', work_dir / 'predictions.png'
    with one_line_errors():
        if args.pictures and not pictures:
            raise ValueError(f'{args.pictures} holds no picture that can be read with a name such as pose_0.png; name '
                             'the --out-dir of tools/draw_poses.py.')
        if not losses and not metrics:
            raise ValueError(f'{work_dir} holds no <time>/vis_data/scalars.json with a loss or a metric; name the '
                             '--work-dir of a training that has logged something.')
        for target in (curves, predictions):
            refuse_to_overwrite(target, *files, *pictures)
    draw_curves(losses, metrics, 'epoch' if any('epoch' in record for record in training.values()) else 'step', curves)
    if pictures:
        draw_predictions(list(pictures.values()), predictions)
    what, numbers = ('held-out images', metrics) if metrics else ('the images to train on', losses)
    scores = '  '.join(f'{label_of(name)} {values[-1]:.3f}' for name, (_, values) in numbers.items())
    print(f'{scores} on {what}; see {curves}' + (f' and {predictions}' if pictures else ''))


if __name__ == '__main__':
    main()
