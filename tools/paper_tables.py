#!/usr/bin/env python
"""The paper's tables, counted anew: parameters and multiply-adds of every config beside the paper's figures.

Accuracies are the paper's; nothing here was trained on ImageNet.
"""
import argparse
import json
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.analysis.paper_tables import TABLES, count_rows, markdown, records
from micronet_mm.checkpoint.atomic import make_folder_of, write_text_atomically
from micronet_mm.engine.cli import one_line_errors

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PREAMBLE = """# The paper's tables, counted anew

Written by `make tables`. Parameters and multiply-adds (MAdds, at 224 x 224) are those of the configs here, counted by
the paper's rule: convolutions, linear layers and J * K per output element of Shift-Max. Accuracies are the paper's,
and so are the figures in the columns "the paper"; a dash stands where it prints none or none that can be read.

It did not publish the widths of the variants '#' and of the networks of Tables 2 and 3. Ours are chosen to cost the
same: `tools/search_widths.py` finds those of Tables 2, 3a and 3c, with one width for all blocks and one for the last,
and those of Table 3b multiply all of M2's by one number. What Table 8 calls the MAdds of a backbone are those of the
whole ImageNet classifier.

Where ours and the paper's differ by more than 5 %:

- MicroNet-M2 with ReLU (9.84M, the paper 10.5M). It has 0.73M elements of ReLU6; counted as one multiply-add each they
  bring it to 10.57M. M2 as released costs 12.74M; the paper's ablations say 12.4M, its Table 7 says 12M.
- M1# and MobileNetV3-Small 0.15x print as the paper has them, 5M and 4M; of the latter the paper's 1.0M parameters are
  less than a classifier of 1,024 hidden units has. MobileNetV3-Small 0.35x, as mmpretrain builds it, prints as 13M.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--table', choices=TABLES, help='only this one')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='also write the tables there')
    args = parser.parse_args()
    with one_line_errors():
        for file in filter(None, (args.json, args.markdown)):
            make_folder_of(file)
    counted = {table: count_rows(TABLES[table].rows, CONFIGS) for table in ([args.table] if args.table else TABLES)}
    text = '\n'.join(markdown(table, rows) for table, rows in counted.items())
    print(text)
    if args.json:
        figures = {table: records(rows) for table, rows in counted.items()}
        write_text_atomically(json.dumps(figures, indent=1), args.json)
    if args.markdown:
        write_text_atomically(f'{PREAMBLE}\n{text}', args.markdown)


if __name__ == '__main__':
    main()
