#!/usr/bin/env python
"""Draw which fusion Dynamic Shift-Max takes where, layer by layer, for an image."""
import argparse
from pathlib import Path

import _process  # noqa: F401
import cv2
import torch

from micronet_mm.analysis.fusions import draw_fusions, fusions_of
from micronet_mm.checkpoint.atomic import make_folder_of, refuse_to_overwrite, written_atomically
from micronet_mm.checkpoint.safe_globals import allow_named
from micronet_mm.commands.trained import load_trained, untrained_model
from micronet_mm.deploy.assemble import default_size
from micronet_mm.deploy.parity_inputs import real_image
from micronet_mm.engine.checks.paths import require
from micronet_mm.engine.cli import config_parser, one_line_errors, read_config


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path, help='the picture to write, such as fusions.png')
    parser.add_argument('--image', help='the image (default: a drawn one)')
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'), help='which it is resized to')
    return parser.parse_args()


def draw(args: argparse.Namespace) -> str:
    """Write the picture; returns what is to be said of it."""
    if args.out.suffix not in ('.png', '.svg', '.pdf'):
        raise ValueError(f'{args.out} is to be a picture; name one that ends in .png, .svg or .pdf.')
    cfg = read_config(args.config, args.cfg_options)
    allow_named(cfg.get('safe_globals') or [])
    refuse_to_overwrite(args.out, args.config, args.checkpoint, *filter(None, [args.image]))
    require(args.checkpoint, 'the picture', 'Name an existing checkpoint.')
    height, width = args.size or default_size(cfg) or (320, 320)
    if min(height, width) < 32:
        raise ValueError(f'--size {height} {width}: height and width are at least 32.')
    pixels = cv2.resize(real_image(args.image), (width, height))
    model = load_trained(untrained_model(cfg), args.checkpoint).eval()
    # As the model's own preprocessor makes it of an image; a detector's pads besides.
    given = dict(inputs=[torch.from_numpy(pixels).permute(2, 0, 1)], data_samples=None)
    images = model.data_preprocessor(given)['inputs']
    found = fusions_of(model.backbone, images)
    make_folder_of(args.out)
    with written_atomically(args.out) as file:
        draw_fusions(found, torch.from_numpy(pixels[..., ::-1].copy())).savefig(file, format=args.out.suffix[1:])
    others = sum(1 - float(layer.shares[0]) for layer in found) / len(found)
    return (f'{args.out}: {len(found)} layers; on average {others:.0%} of channels and places take another fusion than '
            'the first')


def main() -> None:
    args = parse_args()
    with one_line_errors():
        print(draw(args))


if __name__ == '__main__':
    main()
