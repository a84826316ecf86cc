#!/usr/bin/env python
"""Look at what a config's dataset gives a network to train on, boxes, keypoints and labels drawn in.

What runs is the tool of mmdet, mmpose or mmpretrain, with its options: mostly --output-dir FOLDER and --not-show where
there is no display. CONFIG --help shows all of them.
"""
import argparse

import _process  # noqa: F401
from _mmlab import run, tool_of

import micronet_mm  # noqa: F401
from micronet_mm.engine.cli import one_line_errors, read_config

TOOLS = dict(mmdet='analysis_tools/browse_dataset.py', mmpose='misc/browse_dataset.py',
             mmpretrain='visualization/browse_dataset.py')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('options', nargs=argparse.REMAINDER, help="those of MMLab's tool")
    args = parser.parse_args()
    with one_line_errors():
        scope = read_config(args.config).get('default_scope')
        if scope not in TOOLS:
            raise ValueError(f'default_scope={scope!r} of {args.config} must be one of {tuple(TOOLS)}.')
        tool = tool_of(scope, TOOLS[scope])
    run(tool)


if __name__ == '__main__':
    main()
