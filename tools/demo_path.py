#!/usr/bin/env python
"""The path of Table 2 on scikit-learn's handwritten digits: its six networks, with the same budget and several seeds.

Each is trained by tools/train.py as configs/demo/imagenet_micronet_m0_digits.py trains MicroNet-M0, and the accuracy
after the last epoch counts. Trainings that are complete in the work dir are not repeated. This says how the networks
compare on 1,198 small pictures; the paper's order is that of ImageNet.
"""
import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import mean, stdev
from typing import Optional

import _process  # noqa: F401
from mmengine.config import Config

from micronet_mm.analysis.paper_tables import TABLES, PaperRow
from micronet_mm.checkpoint.atomic import make_folder, write_text_atomically
from micronet_mm.engine.cli import one_line_errors

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / 'configs' / 'demo' / 'imagenet_micronet_m0_digits.py'
CONFIG = 'path.py'


def prepare(row: PaperRow, epochs: int, seed: int, work_dir: Path) -> Path:
    """The folder of a training, with the demo's config for the network of a row in it."""
    cfg = Config.fromfile(DEMO)
    cfg.model = Config.fromfile(ROOT / 'configs' / f'{row.config}.py').model
    cfg.model.head.num_classes = 10
    cfg.merge_from_dict({
        'train_cfg.max_epochs': epochs, 'train_cfg.val_interval': epochs, 'param_scheduler.T_max': epochs,
        'param_scheduler.end': epochs, 'randomness.seed': seed})
    folder = work_dir / Path(row.config).name / f'epochs_{epochs}_seed_{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(cfg.pretty_text, folder / CONFIG)
    return folder


def accuracy(folder: Path, epochs: int) -> Optional[float]:
    """Top-1 after the last epoch, None if the training is not complete."""
    for file in folder.glob('*/vis_data/scalars.json'):
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # a run that is killed leaves half a line
                record = json.loads(line)
                if 'accuracy/top1' in record and record['step'] == epochs:
                    return record['accuracy/top1']
    return None


def train(row: PaperRow, epochs: int, folder: Path) -> float:
    """The accuracy of one network, trained in a process of one thread unless that is done."""
    if accuracy(folder, epochs) is None:
        run = subprocess.run([sys.executable, ROOT / 'tools' / 'train.py', folder / CONFIG, '--work-dir', folder],
                             env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True)
        if run.returncode:
            reason = (run.stderr.strip() or run.stdout.strip()).splitlines()[-1:]
            raise ValueError(f'training {row.name} in {folder} failed: {"".join(reason)}')
    found = accuracy(folder, epochs)
    print(f'{folder}: {found:.2f} %', flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo-path'))
    parser.add_argument('--epochs', type=int, default=12, help='the budget of each (default: 12)')
    parser.add_argument('--seeds', type=int, default=3, help='trainings of each (default: 3)')
    parser.add_argument('--jobs', type=int, default=2, help='trainings at a time (default: 2)')
    args = parser.parse_args()
    make_folder(args.work_dir)
    rows = TABLES['2'].rows
    folders = [[prepare(row, args.epochs, seed, args.work_dir) for seed in range(args.seeds)] for row in rows]
    with ThreadPoolExecutor(args.jobs) as pool:
        found = [[pool.submit(train, row, args.epochs, folder) for folder in of_row]
                 for row, of_row in zip(rows, folders)]
    lines = ['| Table 2 | top-1 on the digits, mean (spread) | of each seed | top-1 on ImageNet (the paper) |',
             '|---' * 4 + '|']
    for row, futures in zip(rows, found):
        values = [future.result() for future in futures]
        spread = f' ({stdev(values):.1f})' if len(values) > 1 else ''
        lines.append(f'| {row.name} | {mean(values):.1f}{spread} | {", ".join(f"{v:.1f}" for v in values)} '
                     f'| {row.accuracy} |')
    text = '\n'.join(lines) + '\n'
    print(text)
    write_text_atomically(text, args.work_dir / 'result.md')


if __name__ == '__main__':
    with one_line_errors():
        main()
