#!/usr/bin/env python
"""What small detectors cost: parameters and multiply-adds of ours beside those that people use today."""
import argparse
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.analysis.detector_costs import count_detectors, markdown
from micronet_mm.checkpoint.atomic import make_folder_of, write_text_atomically
from micronet_mm.engine.cli import one_line_errors

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PREAMBLE = """# What small detectors cost

Written by `make tables`: parameters and multiply-adds of the configs here and of mmdet's, counted by the rule of
[paper_tables.md](paper_tables.md), and what others publish. Nothing of ours was trained on COCO.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='also write the table there')
    args = parser.parse_args()
    with one_line_errors():
        if args.markdown:
            make_folder_of(args.markdown)
    text = markdown(count_detectors(CONFIGS))
    print(text)
    if args.markdown:
        write_text_atomically(f'{PREAMBLE}\n{text}', args.markdown)


if __name__ == '__main__':
    main()
