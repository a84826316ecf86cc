#!/usr/bin/env python
"""The path of Table 2 on scikit-learn's handwritten digits: its six networks, with the same budget and several seeds.

Each is trained by tools/train.py as configs/demo/imagenet_micronet_m0_digits.py trains MicroNet-M0, and the accuracy
after the last epoch counts. Trainings that are complete in the work dir are not repeated. This says how the networks
compare on 1,198 small pictures; the paper's order is that of ImageNet.
"""
from pathlib import Path

import _process  # noqa: F401
from _trainings import arguments, compare, summary
from mmengine.config import Config

from micronet_mm.analysis.paper_tables import TABLES, PaperRow
from micronet_mm.engine.cli import one_line_errors

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
DEMO = CONFIGS / 'demo' / 'imagenet_micronet_m0_digits.py'


def config(row: PaperRow, epochs: int, seed: int) -> Config:
    """The demo's config for the network of a row."""
    cfg = Config.fromfile(DEMO)
    cfg.model = Config.fromfile(CONFIGS / f'{row.config}.py').model
    cfg.model.head.num_classes = 10
    cfg.merge_from_dict({
        'train_cfg.max_epochs': epochs, 'train_cfg.val_interval': epochs, 'param_scheduler.T_max': epochs,
        'param_scheduler.end': epochs, 'randomness.seed': seed})
    return cfg


def main() -> None:
    args = arguments(__doc__, Path('work_dirs/demo-path'), epochs=12).parse_args()
    rows = {Path(row.config).name: row for row in TABLES['2'].rows}
    header = ['Table 2', 'top-1 on the digits, mean (spread)', 'of each seed', 'top-1 on ImageNet (the paper)']

    def cells(name: str, found: list[dict]) -> list[str]:
        values = [metrics['accuracy/top1'] for metrics in found]
        return [rows[name].name, summary(values, 1), ', '.join(f'{value:.1f}' for value in values),
                str(rows[name].accuracy)]

    compare(args, header, {name: lambda seed, row=row: config(row, args.epochs, seed) for name, row in rows.items()},
            cells)


if __name__ == '__main__':
    with one_line_errors():
        main()
