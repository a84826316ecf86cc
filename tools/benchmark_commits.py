#!/usr/bin/env python
"""Is this checkout slower than another? Training steps of the two, in turn, each in a process of its own.

Both are built and warmed up, then one after the other takes a step, in random order, while its rival waits; so what
else the machine does meets both alike. Printed is the median of the ratios of such pairs, above 1 where this checkout
is slower. For example:

    git worktree add ../before HEAD~1
    tools/benchmark_commits.py ../before --arch m0 m3
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import _process  # noqa: F401
import torch

ROOT = Path(__file__).resolve().parents[1]
SHAPES = dict(classification=(16, (224, 224)), retinanet=(1, (800, 1333)))
WARM_UP = 4


def serve(arch: str, task: str) -> None:
    """Take a step for every line of the input, and print its seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from benchmark_training import contenders, take_step
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    ours, *_ = contenders(arch, task, *SHAPES[task])
    for _ in range(WARM_UP):
        take_step(ours.step)
    print('ready', flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        take_step(ours.step)
        print(time.perf_counter() - begin, flush=True)


@contextmanager
def server(tree: Path, arch: str, task: str, threads: int) -> Iterator[subprocess.Popen]:
    """A process that serves with the package of ``tree``."""
    environment = {**os.environ, 'PYTHONPATH': str(tree), 'OMP_NUM_THREADS': str(threads)}
    process = subprocess.Popen([sys.executable, __file__, '--serve', arch, task], env=environment, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if process.stdout.readline() != 'ready\n':
            sys.exit(f'error: {tree} takes no step of {arch}; see above.')
        yield process
    finally:
        process.kill()
        process.wait()


def step_seconds(process: subprocess.Popen) -> float:
    print(file=process.stdin, flush=True)
    return float(process.stdout.readline())


def ratios(other: Path, arch: str, task: str, threads: int, steps: int) -> list[float]:
    """Seconds of this checkout over those of the other, pair by pair."""
    with server(ROOT, arch, task, threads) as this, server(other, arch, task, threads) as rival:
        found = []
        for _ in range(steps):
            pair = {}
            for process in random.sample([this, rival], 2):
                pair[process] = step_seconds(process)
            found.append(pair[this] / pair[rival])
        return found


def main() -> None:
    if sys.argv[1:2] == ['--serve']:
        return serve(*sys.argv[2:])
    from micronet_mm.models import ARCHS
    from micronet_mm.validation import COUNT  # not of the tree that is served
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('other', type=Path, help='another checkout')
    parser.add_argument('--arch', nargs='+', choices=sorted(ARCHS), default=['m0', 'm3'])
    parser.add_argument('--task', nargs='+', choices=sorted(SHAPES), default=sorted(SHAPES))
    parser.add_argument('--threads', type=COUNT, default=2)
    parser.add_argument('--steps', type=COUNT, default=60, help='of each, in every round')
    parser.add_argument('--rounds', type=COUNT, default=3, help='each with new processes')
    args = parser.parse_args()
    other = args.other.resolve()
    if not (other / 'micronet_mm' / '__init__.py').is_file():
        parser.error(f'{args.other} is no checkout of this project: it has no micronet_mm/__init__.py')
    for task in args.task:
        for arch in args.arch:
            rounds = [ratios(other, arch, task, args.threads, args.steps) for _ in range(args.rounds)]
            each = ', '.join(f'{statistics.median(found):.3f}' for found in rounds)
            print(f'{task} {arch}: {statistics.median(chain(*rounds)):.3f}x the time (rounds: {each})', flush=True)


if __name__ == '__main__':
    main()
