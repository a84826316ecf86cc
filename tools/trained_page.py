#!/usr/bin/env python
"""Write docs/trained.md and its figures from the recorded trainings in docs/trained.

With --add, first record a finished training there.
"""
import argparse
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.analysis import trained
from micronet_mm.analysis.figure_drawing import svg
from micronet_mm.checkpoint.atomic import write_text_atomically, written_atomically
from micronet_mm.engine.cli import one_line_errors

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / 'docs' / 'trained'
PAGE = '''# Trained on real images

Written by `python tools/trained_page.py`. Every accuracy here is ours, not the paper's.

## Tiny-ImageNet

[Tiny-ImageNet](http://cs231n.stanford.edu/tiny-imagenet-200.zip) has 100,000 training and 10,000 validation images of
64 x 64 in 200 classes. Images are enlarged to 128 x 128 for validation. All networks share one recipe,
`configs/_base_/tiny_imagenet.py`: the same images, augmentation, schedule and number of epochs. The accuracy is that of
the last epoch. No epoch was chosen by its accuracy.

    micronet-mm train trained/tiny_imagenet_micronet_m0 --cfg-options train_dataloader.dataset.data_root=FOLDER \\
        val_dataloader.dataset.data_root=FOLDER

The paper reports ImageNet: MicroNet-M0 to M3 are 12.9, 10.3, 9.6 and 4.5 points above MobileNetV3-Small of the same
cost. Here, with the mean of the seeds:

{pairs}

{verdict}

![top-1 over multiply-adds](trained/accuracy.svg)

{table}

Minutes are the training time in one thread, beside other work, on {machine}.

![training curves](trained/curves.svg)

The accuracy rises in steps because images grow from 64 to 96 and 128 pixels (epochs 11 and 19), and validation images
always have 128.
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--add', type=Path, metavar='WORK_DIR', help='finished training to record')
    parser.add_argument('--commit', help='commit at which it ran')
    parser.add_argument('--machine', help='machine on which it ran, in words')
    args = parser.parse_args()
    if args.add and not (args.commit and args.machine):
        parser.error('--add needs --commit and --machine')
    with one_line_errors():
        if args.add:
            run = trained.read_run(args.add, args.commit, args.machine)
            write_text_atomically(trained.write_run(run), RUNS / run.file)
        write_page(trained.load_runs(RUNS))


def write_page(runs: list[trained.Run]) -> None:
    """Write the page and its figures."""
    configs = ROOT / 'configs'
    for name, figure in (('accuracy', trained.accuracy_figure(runs, configs)), ('curves', trained.curves_figure(runs))):
        with written_atomically(RUNS / f'{name}.svg') as file:
            file.write(svg(figure))
    machines = ', '.join(dict.fromkeys(run.machine for run in runs))
    page = PAGE.format(pairs=trained.pairs_table(runs), verdict=trained.verdict(runs),
                       table=trained.table(runs, configs), machine=machines)
    write_text_atomically(page, ROOT / 'docs' / 'trained.md')


if __name__ == '__main__':
    main()
