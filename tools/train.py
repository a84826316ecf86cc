#!/usr/bin/env python
"""Train from a config: classification, detection or keypoints."""
import argparse
import os.path as osp

import _openmp  # noqa: F401
from mmengine.config import Config

from micronet_mm.checkpoint.newest import why_broken
from micronet_mm.engine.cli import (
    build_runner,
    common_parser,
    enable_amp,
    enable_auto_scale_lr,
    load_config,
    one_line_errors,
    one_line_stops,
)
from micronet_mm.engine.preflight import check_files


def parse_args() -> argparse.Namespace:
    parser = common_parser(__doc__)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='continue from CHECKPOINT, or from the last one in the work dir')
    parser.add_argument('--amp', nargs='?', const='auto', choices=['auto', 'bf16', 'fp16'],
                        help='mixed precision; auto is fp16, and bf16 on a CPU')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch')
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> Config:
    cfg = load_config(args)
    if args.amp:
        enable_amp(cfg, args.amp)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    validates = ['val'] if cfg.get('val_cfg') else []
    check_files(cfg, [f'{phase}_dataloader' for phase in ['train', *validates]],
                [f'{phase}_evaluator' for phase in validates])
    if cfg.get('resume') and osp.exists(cfg.load_from or '') and (fault := why_broken(cfg.load_from)):
        raise ValueError(f'{cfg.load_from} cannot be resumed from: {fault}. Name another checkpoint, or let --resume '
                         'alone find the newest that is whole.')
    return cfg


def main() -> None:
    args = parse_args()
    with one_line_errors():
        cfg = prepare(args)
    with one_line_stops():
        build_runner(cfg).train()


if __name__ == '__main__':
    main()
