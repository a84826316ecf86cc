#!/usr/bin/env python
"""Draw what a training run left behind: curves.png (loss and AP) and predictions.png (truth beside prediction).

Reads the scalars and the validation pictures that MMEngine's visualizer writes to WORK_DIR/<time>/vis_data, or pictures
from a folder such as tools/draw_poses.py fills.
"""
import argparse
import json
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt


def latest_run(work_dir: Path) -> Path:
    """The vis_data folder of the last run in ``work_dir`` that logged anything."""
    runs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not runs:
        sys.exit(f'error: {work_dir} holds no <time>/vis_data/scalars.json; name the --work-dir of a training.')
    return runs[-1].parent


def draw_curves(training: list[dict], validation: list[dict], target: Path) -> None:
    """Loss over iterations and every AP over epochs, side by side."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for name in [k for k in training[0] if k == 'loss' or k.startswith('loss_')]:
        left.plot([r['step'] for r in training], [r[name] for r in training], label=name)
    left.set(xlabel='iteration', ylabel='training loss', ylim=(0, None))
    left.legend()
    for name, label in find_metrics(validation).items():
        right.plot([r['step'] for r in validation], [r[name] for r in validation], marker='o', label=label)
    right.set(xlabel='epoch', ylabel='held-out images', ylim=(0, 1))
    right.legend()
    figure.savefig(target, dpi=120)
    plt.close(figure)


def find_metrics(validation: list[dict]) -> dict[str, str]:
    """Key -> label of AP, AP50 and AP75, as mmdet or mmpose spell them."""
    pattern = re.compile(r'coco/(?:bbox_m)?AP(?:[_ .]*(50|75))?$')
    found = {key: pattern.match(key) for record in validation for key in record}
    return {key: 'AP' + (match[1] or '') for key, match in found.items() if match}


def draw_predictions(pictures: list[Path], target: Path) -> None:
    """The pictures as one sheet, two in a row; each shows truth on the left and prediction on the right."""
    rows = (len(pictures) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(13, 3.3 * rows), squeeze=False, constrained_layout=True)
    for axis in axes.flat:
        axis.axis('off')
    for axis, picture in zip(axes.flat, pictures):
        axis.imshow(plt.imread(picture))
        axis.set_title('truth | prediction', fontsize=9)
    figure.savefig(target, dpi=100)
    plt.close(figure)


def last_pictures(folder: Path, count: int = 8) -> list[Path]:
    """The pictures drawn last: their names end in the step."""
    pictures = sorted(folder.glob('*_*.png'), key=lambda p: int(p.stem.rpartition('_')[2]))
    return pictures[-count:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--pictures', type=Path, metavar='DIR', help='take the pictures from there')
    args = parser.parse_args()
    work_dir = args.work_dir
    run = latest_run(work_dir)
    records = [json.loads(line) for line in (run / 'scalars.json').read_text().splitlines()]
    training = [r for r in records if 'loss' in r]
    validation = [r for r in records if 'loss' not in r]
    pictures = last_pictures(args.pictures or run / 'vis_image')
    if not (training and validation and pictures):
        sys.exit(f'error: {run} holds no finished validation with pictures yet; let the training reach one.')
    draw_curves(training, validation, work_dir / 'curves.png')
    draw_predictions(pictures, work_dir / 'predictions.png')
    scores = '  '.join(f'{label} {validation[-1][key]:.3f}' for key, label in find_metrics(validation).items())
    print(f'{scores} on held-out images; see {work_dir}/curves.png and {work_dir}/predictions.png')


if __name__ == '__main__':
    main()
