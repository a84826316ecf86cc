#!/usr/bin/env python
"""Where the time of a network goes when a plan runs it: by kind of step, beside what this machine could do at best.

One image, one thread, random weights. The best is what the multiply-adds take at the speed of a product of matrices,
and the weights at the speed at which an array of their size is read.
"""
import argparse
from pathlib import Path

import _process  # noqa: F401
from benchmark_latency import CHOICES, CONFIGS

from micronet_mm.checkpoint.atomic import make_folder_of, write_text_atomically
from micronet_mm.engine.cli import one_line_errors
from micronet_mm.latency import networks
from micronet_mm.latency.profile import Kind, profile
from micronet_mm.latency.variants import threads_of_pytorch
from micronet_mm.validation import COUNT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('network', choices=CHOICES, metavar='NETWORK', help=f'one of {", ".join(CHOICES)}')
    parser.add_argument('--passes', type=COUNT, default=100, help='of which medians are taken (default: 100)')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='also write the table there')
    args = parser.parse_args()
    if args.markdown:
        make_folder_of(args.markdown)
    with threads_of_pytorch(1):
        built = networks.build(CHOICES[args.network], CONFIGS)
        kinds, machine = profile(built.deployed, built.pixels, args.passes)
    everything = Kind('all', *(sum(getattr(kind, name) for kind in kinds)
                               for name in ('steps', 'seconds', 'madds', 'bytes')))
    lines = ['| step | number | microseconds | multiply-adds | weights | at best |', '|---|---|---|---|---|---|']
    lines += [f'| {kind.name} | {kind.steps} | {kind.seconds * 1e6:.0f} | {kind.madds / 1e6:.2f}M | '
              f'{kind.bytes / 1e6:.2f} MB | {machine.seconds(kind) * 1e6:.0f} |' for kind in (*kinds, everything)]
    text = (f'{machine.madds / 1e9:.0f}G multiply-adds and {machine.bandwidth / 1e9:.0f} GB a second\n\n'
            + '\n'.join(lines) + '\n')
    print(text, end='')
    if args.markdown:
        write_text_atomically(text, args.markdown)


if __name__ == '__main__':
    with one_line_errors():
        main()
