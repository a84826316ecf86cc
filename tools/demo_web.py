#!/usr/bin/env python
"""Serve a page in the browser that runs detectors, keypoint models and classifiers on pictures and on the camera.

Without --models and --checkpoint it serves the models of this repository's demos: with the weights that
`make demo-micro`, `make demo-pose`, `make demo-cls` and `make demo` left in work_dirs, and otherwise with random ones,
which it says.
"""
import argparse
import sys
from pathlib import Path

import _process  # noqa: F401

from micronet_web import find_models, offer_of_pair, serve


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, nargs='+', default=[], metavar='FOLDER',
                        help='folders of exported files: ONNX files and plans')
    parser.add_argument('--checkpoint', nargs=2, action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'),
                        help='a model for PyTorch; one that is named as an exported file is another engine for it')
    parser.add_argument('--host', default='127.0.0.1',
                        help='whom to serve: this machine alone (default), or with 0.0.0.0 the whole network')
    parser.add_argument('--port', type=int, help='default: the first free one from 7860')
    parser.add_argument('--threads', type=int, default=1, metavar='N', help='of each engine (default: 1)')
    args = parser.parse_args()
    if args.threads < 1:
        parser.error(f'--threads {args.threads}: give a number from 1')
    if args.port is not None and not 0 < args.port < 65536:
        parser.error(f'--port {args.port}: give a number from 1 to 65535')
    return args


def main() -> None:
    args = parse_args()
    examples: list[str] = []
    try:
        if args.models or args.checkpoint:
            offers = [*(offer for folder in args.models for offer in find_models(folder)),
                      *(offer_of_pair(*pair) for pair in args.checkpoint)]
        else:
            try:
                from _demo_models import demo_models, demo_pictures
            except ModuleNotFoundError as error:
                raise ImportError(f'the models of the demos need {error.name}, which is not installed; give --models '
                                  'FOLDER with exported files, which do without.') from None
            offers = demo_models(Path('work_dirs'), Path('work_dirs') / 'demo-web')
            examples = demo_pictures(Path('work_dirs') / 'demo-web' / 'pictures')
        serve(offers, args.host, args.port, args.threads, examples)
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
