#!/usr/bin/env python
"""Draw the paper's figures 1, 3, 4 and 5 (left) anew, as figure_N.svg.

Costs, groups and layers are those of this package, accuracies the paper's; nothing here was trained on ImageNet.
"""
import argparse
import sys
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.analysis import figure_drawing, figures
from micronet_mm.analysis.block_diagrams import block_diagrams
from micronet_mm.analysis.paper_tables import TABLES, count_rows
from micronet_mm.checkpoint.atomic import make_folder, written_atomically
from micronet_mm.engine.cli import one_line_errors

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out-dir', type=Path, default=ROOT / 'docs' / 'figures', help='default: docs/figures here')
    parser.add_argument('--only', type=int, nargs='+', choices=(1, 3, 4, 5), default=(1, 3, 4, 5), metavar='N',
                        help='1, 3, 4 or 5; default: all of them')
    args = parser.parse_args()
    with one_line_errors():
        make_folder(args.out_dir)
    drawn = {}
    if {1, 5} & set(args.only):  # one count serves both
        curves = figures.accuracy_curves(count_rows(TABLES['7'].rows, ROOT / 'configs'))
        drawn[1], drawn[5] = figure_drawing.figure_1(curves), figure_drawing.figure_5(curves)
    if 3 in args.only:
        drawn[3] = figure_drawing.figure_3(figures.TradeOff.through(384, 6), figures.group_convs())
    if 4 in args.only:
        drawn[4] = figure_drawing.figure_4(block_diagrams())
    for number in sorted(set(args.only)):
        try:
            with written_atomically(args.out_dir / f'figure_{number}.svg') as file:
                file.write(figure_drawing.svg(drawn[number]))
        except OSError as error:
            sys.exit(f'error: {error}')
    print(f'{args.out_dir}: figures {", ".join(map(str, sorted(set(args.only))))}')


if __name__ == '__main__':
    main()
