#!/usr/bin/env python
"""The paper's tables, counted anew: parameters and multiply-adds of every config beside the paper's figures.

Accuracies are the paper's; nothing here was trained on ImageNet.
"""
import argparse
import json
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.analysis.paper_tables import TABLES, count_rows, markdown, records

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PREAMBLE = """# The paper's tables, counted anew

Written by `make tables`. Parameters and multiply-adds (MAdds, at 224 x 224) are those of the configs here, counted by
the paper's rule: convolutions, linear layers and J * K per output element of Dynamic Shift-Max. Accuracies are the
paper's. It prints its figures rounded, and its ablation models cost 3 % less than the released M2 (12.4M against
12.74M). It did not publish the widths of the variants '#' and of Table 3b; ours are chosen to cost the same. What Table
8 calls the MAdds of a backbone are those of the whole ImageNet classifier.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--table', type=int, choices=sorted(TABLES), help='only this one')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='also write the tables there')
    args = parser.parse_args()
    counted = {table: count_rows(TABLES[table], CONFIGS) for table in ([args.table] if args.table else sorted(TABLES))}
    text = '\n'.join(markdown(table, rows) for table, rows in counted.items())
    print(text)
    if args.json:
        args.json.write_text(json.dumps({table: records(rows) for table, rows in counted.items()}, indent=1))
    if args.markdown:
        args.markdown.write_text(f'{PREAMBLE}\n{text}')


if __name__ == '__main__':
    main()
