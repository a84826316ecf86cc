#!/usr/bin/env python
"""Print a network as a row-by-row table in the manner of Table 1 of the paper."""
import argparse

import _process  # noqa: F401

from micronet_mm.analysis.table_1 import table_1
from micronet_mm.engine.cli import one_line_errors
from micronet_mm.validation import COUNT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('arch', help='m0, m1, m2, m3, or one of their sharp variants, such as m1_sharp')
    parser.add_argument('--size', type=COUNT, default=224, help='height and width of the image (default: 224)')
    args = parser.parse_args()
    with one_line_errors():
        print(table_1(args.arch, args.size))


if __name__ == '__main__':
    main()
