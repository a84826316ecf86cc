#!/usr/bin/env python
"""Write model-index.yml and the metafiles of all configs, for mim and MMEngine: costs are counted, accuracies the
paper's."""
import argparse
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.analysis.model_index import FAMILIES, INDEX, family_of, metafile, text
from micronet_mm.bundled_configs import config_names, shipped
from micronet_mm.checkpoint.atomic import make_folder, write_text_atomically
from micronet_mm.commands.flops import usual_size
from micronet_mm.engine.cli import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out-dir', type=Path, default=shipped('configs').parent, metavar='DIR',
                        help='where to write them (default: beside configs/, and into it)')
    parser.add_argument('--only', nargs='+', choices=FAMILIES, default=list(FAMILIES), metavar='FAMILY',
                        help=f'the metafiles of these alone: {", ".join(FAMILIES)}')
    args = parser.parse_args()
    with one_line_errors():
        make_folder(args.out_dir)
    files = {key: f'configs/metafiles/{key}.yml' for key in FAMILIES}
    for key in args.only:
        names = [name for name in config_names() if family_of(name) == key]
        content = metafile(FAMILIES[key], shipped('configs'), names, usual_size)
        write_text_atomically(text(content), args.out_dir / files[key])
        print(f'{args.out_dir / files[key]}: {len(names)} configs')
    write_text_atomically(text(dict(Import=list(files.values()))), args.out_dir / INDEX)


if __name__ == '__main__':
    main()
