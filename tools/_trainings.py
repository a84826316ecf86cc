"""Trainings of a few minutes that are compared: each in a process of one thread, several at a time, none done twice."""
import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import mean, stdev
from typing import Optional

from mmengine.config import Config

from micronet_mm.checkpoint.atomic import make_folder, write_text_atomically
from micronet_mm.validation import COUNT

CONFIG = 'config.py'
TRAIN = Path(__file__).resolve().with_name('train.py')


def arguments(description: str, work_dir: Path, epochs: int) -> argparse.ArgumentParser:
    """What all comparisons are asked: ``work_dir``, ``epochs``, ``seeds`` and ``jobs``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=work_dir)
    parser.add_argument('--epochs', type=COUNT, default=epochs, help=f'the budget of each (default: {epochs})')
    parser.add_argument('--seeds', type=COUNT, default=3, help='trainings of each (default: 3)')
    parser.add_argument('--jobs', type=COUNT, default=2, help='trainings at a time (default: 2)')
    return parser


def compare(args: argparse.Namespace, header: Sequence[str], configs: Mapping[str, Callable[[int], Config]],
            cells: Callable[[str, list[dict]], Sequence[str]], result: str = 'result.md') -> None:
    """Train every config with every seed; print a table of what was evaluated at the end, and leave it in the work dir.

    Args:
        args: those of :func:`arguments`.
        header: of the table.
        configs: by name, what makes the config of a seed.
        cells: the row of a name, of its metrics for each seed.
        result: file of the table.
    """
    make_folder(args.work_dir)
    folders = {name: [prepare(config(seed), args.work_dir / name / f'epochs_{args.epochs}_seed_{seed}')
                      for seed in range(args.seeds)] for name, config in configs.items()}
    with ThreadPoolExecutor(args.jobs) as pool:
        found = {name: [pool.submit(train, folder, args.epochs) for folder in of_name]
                 for name, of_name in folders.items()}
    rows = [cells(name, [future.result() for future in futures]) for name, futures in found.items()]
    lines = [f'| {" | ".join(row)} |' for row in (header, *rows)]
    text = '\n'.join([lines[0], '|---' * len(header) + '|', *lines[1:]]) + '\n'
    print(text)
    write_text_atomically(text, args.work_dir / result)


def prepare(cfg: Config, folder: Path) -> Path:
    """The folder of a training, with its config in it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(cfg.pretty_text, folder / CONFIG)
    return folder


def evaluated(folder: Path, epoch: int) -> Optional[dict]:
    """The metrics after this epoch, None if the training has not come there."""
    for file in folder.glob('*/vis_data/scalars.json'):
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # a run that is killed leaves half a line
                record = json.loads(line)
                if record['step'] == epoch and 'lr' not in record:
                    return record
    return None


def train(folder: Path, epochs: int) -> dict:
    """The metrics after the last epoch of a training, which is run unless that is done.

    Raises:
        ValueError: if the training fails, with its last line.
    """
    if evaluated(folder, epochs) is None:
        run = subprocess.run([sys.executable, TRAIN, folder / CONFIG, '--work-dir', folder],
                             env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True)
        if run.returncode:
            reason = (run.stderr.strip() or run.stdout.strip()).splitlines()[-1:]
            raise ValueError(f'the training in {folder} failed: {"".join(reason)}')
    found = evaluated(folder, epochs)
    print(f'{folder}: {found}', flush=True)
    return found


def summary(values: list[float], digits: int) -> str:
    """Mean and spread (one standard deviation)."""
    spread = f' ({stdev(values):.{digits}f})' if len(values) > 1 else ''
    return f'{mean(values):.{digits}f}{spread}'
