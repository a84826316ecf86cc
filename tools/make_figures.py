#!/usr/bin/env python
"""Write the demo dataset: people and simple shapes in COCO format, with boxes and keypoints, from a seed."""
import argparse
import sys

import _process  # noqa: F401

from micronet_mm.datasets import write_figures
from micronet_mm.validation import COUNT, integer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder to create')
    parser.add_argument('--train', type=COUNT, default=2000, help='images to train on (default %(default)s)')
    parser.add_argument('--val', type=COUNT, default=200, help='images held out (default %(default)s)')
    parser.add_argument('--seed', type=integer(0), default=0)
    args = parser.parse_args()
    try:
        write_figures(args.root, args.train, args.val, args.seed)
    except OSError as error:
        sys.exit(f'error: {error}')
    print(f'{args.root}: {args.train} images to train on, {args.val} held out')


if __name__ == '__main__':
    main()
