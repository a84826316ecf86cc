#!/usr/bin/env python
"""Strip a training checkpoint to its weights, in a file that is named by its content: NAME-<first 8 of SHA-256>.pth."""
import argparse

import _process  # noqa: F401

from micronet_mm.checkpoint.publish import publish_checkpoint
from micronet_mm.engine.cli import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='SRC', help='checkpoint of a training')
    parser.add_argument('target', metavar='DST', help='FOLDER/NAME.pth or FOLDER/NAME.safetensors')
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument('--ema', dest='averaged', action='store_true', default=None,
                        help='take the averaged weights (the default where there are any)')
    choice.add_argument('--no-ema', dest='averaged', action='store_false',
                        help='take the weights that were trained, not their average')
    args = parser.parse_args()
    with one_line_errors():
        path, sha256, kind, number = publish_checkpoint(args.source, args.target, args.averaged)
    print(f'{path}: {kind}, {number} tensors, SHA-256 {sha256}')


if __name__ == '__main__':
    main()
