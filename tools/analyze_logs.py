#!/usr/bin/env python
"""Draw curves of trainings, or the time of their iterations, from the JSON logs in their work dirs.

    python tools/analyze_logs.py plot_curve work_dirs/NAME/DATE/vis_data/DATE.json --keys loss --out loss.png
    python tools/analyze_logs.py cal_train_time work_dirs/NAME/DATE/vis_data/DATE.json

What runs is the tool of mmdet, mmpretrain or mmpose, whichever is installed, with its options; it needs seaborn. For
losses and metrics of all runs of a work dir in one picture there is tools/demo_report.py.
"""
import argparse
from importlib.util import find_spec

import _process  # noqa: F401
from _mmlab import run, tool_of
from matplotlib import style

from micronet_mm.engine.cli import one_line_errors

PACKAGES = ('mmdet', 'mmpretrain', 'mmpose')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', choices=['plot_curve', 'cal_train_time'])
    parser.add_argument('options', nargs=argparse.REMAINDER, help="those of MMLab's tool, logs first")
    parser.parse_args()
    with one_line_errors():
        installed = [package for package in PACKAGES if find_spec(package)]
        if not installed:
            raise ImportError(f'none of {", ".join(PACKAGES)} is installed, whose tool does this.')
        if find_spec('seaborn') is None:
            raise ImportError('seaborn is not installed, by which curves are drawn; pip install seaborn.')
        tool = tool_of(installed[0], 'analysis_tools/analyze_logs.py')
    # The maintained line asks matplotlib for its default style, by the name that seaborn has for it.
    style.library.setdefault('dark', style.library['seaborn-v0_8-dark'])
    run(tool)


if __name__ == '__main__':
    main()
