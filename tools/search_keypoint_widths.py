#!/usr/bin/env python
"""Which widths give the keypoint models the cost that Table 9 prints.

The paper does not say how wide the three Micro-Blocks of the head are. This goes through pairs of widths (one at stride
8, one at stride 4) for the structure of MicroHeatmapHead and lists those with which the whole model has the paper's
parameters, within rounding, and multiply-adds, within 1 %.
"""
import argparse
from functools import cache

import _process  # noqa: F401
from torch import nn

from micronet_mm.analysis import Cost, count
from micronet_mm.models import ARCHS, MicroBlockA, MicroNet

KEYPOINTS = 17
# Parameters and multiply-adds in millions, at 256 x 192.
TARGETS = dict(m3=(2.2, 163.2), m2=(1.8, 116.8))


@cache
def block(in_channels: int, width: int, expansion: tuple[int, int], ratio: int, size: tuple[int, int]) -> Cost:
    """One block of the head at a resolution."""
    module = MicroBlockA(in_channels, width, 5, 1, expansion, reduction=8 * ratio, shift_max=dict(spatial=True))
    return count(module, *size, channels=in_channels).total


def model(arch: str, first: int, second: int) -> Cost:
    """The whole model with those widths at stride 8 and 4."""
    return (body(arch) + block(ARCHS[arch].rows[-1].channels, first, (1, 2), 2, (32, 24))
            + block(first, second, (2, 2), 1, (64, 48)) + block(second, second, (2, 2), 1, (64, 48))
            + count(nn.Conv2d(second, KEYPOINTS, 1), 64, 48, channels=second).total)


@cache
def body(arch: str) -> Cost:
    return count(MicroNet(arch, output_stride=16), 256, 192).total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--step', type=int, default=8, help='widths are multiples of this (default: 8)')
    widths = range(parser.parse_args().step, 257, parser.parse_args().step)
    for arch, (params, madds) in TARGETS.items():
        print(f'{arch}: the paper has {params}M parameters and {madds}M multiply-adds')
        for first in widths:
            for second in (width for width in widths if width <= first):
                cost = model(arch, first, second)
                if f'{cost.params / 1e6:.1f}' == str(params) and abs(cost.madds / madds / 1e6 - 1) < 0.01:
                    print(f'  {first:3} at stride 8, {second:3} twice at stride 4: {cost.params / 1e6:.3f}M, '
                          f'{cost.madds / 1e6:.1f}M ({cost.madds / madds / 1e6 - 1:+.1%})')


if __name__ == '__main__':
    main()
