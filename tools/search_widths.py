#!/usr/bin/env python
"""Which widths give the models of Tables 2, 3 and 9 the cost that the paper prints.

The paper does not say how wide they are. Listed first are those with which the whole model is nearest to the paper's
parameters and multiply-adds; the configs of Tables 2 and 3 have the first of each list. Of Table 9 docs/keypoints.md
says which and why.
"""
import argparse

import _process  # noqa: F401

from micronet_mm.analysis.width_search import (
    KEYPOINT_MODELS,
    MOBILENETV2,
    VARIATIONS,
    keypoint_heads,
    mobilenetv2,
    variations_of_m2,
)
from micronet_mm.validation import COUNT


def show(name: str, params: float, madds: float, candidates: list, most: int) -> None:
    print(f'{name}: the paper has {params or "?"}M parameters and {madds}M multiply-adds')
    for widths, cost, distance in candidates[:most]:
        text = ', '.join(f'{key}={value}' for key, value in widths.items())
        print(f'  {text}: {cost.params / 1e6:.3f}M, {cost.madds / 1e6:.2f}M (within {distance:.1%})')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--table', type=int, choices=[2, 3, 9], help='only this one (2 and 3 are one)')
    parser.add_argument('--most', type=COUNT, default=3, help='lines of a list (default: 3)')
    args = parser.parse_args()
    if args.table != 9:
        show('MobileNetV2', *MOBILENETV2, mobilenetv2(), args.most)
        for name, (_, params, madds) in VARIATIONS.items():
            show(name, params, madds, variations_of_m2(name), args.most)
    if args.table in (None, 9):
        for arch, (params, madds) in KEYPOINT_MODELS.items():
            show(f'keypoints, {arch}', params, madds, keypoint_heads(arch), args.most)


if __name__ == '__main__':
    main()
