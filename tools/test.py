#!/usr/bin/env python
"""Evaluate a checkpoint with the test set and metrics of a config: classification, detection or keypoints."""
import argparse

from mmengine.config import Config
from mmengine.evaluator import DumpResults

from micronet_mm.engine.cli import build_runner, common_parser, load_config, one_line_errors
from micronet_mm.engine.preflight import check_files


def parse_args() -> argparse.Namespace:
    parser = common_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='FILE.pkl', help='also write the predictions there')
    parser.add_argument('--show-dir', metavar='DIR', help='also draw the predictions there')
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: predictions are written as a pickle, name a file that ends in .pkl')
    return args


def prepare(args: argparse.Namespace) -> Config:
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    # The checkpoint brings the weights; what the backbone would start from is not needed.
    for part in cfg.model.values():
        if isinstance(part, dict):
            part.pop('init_cfg', None)
    if args.show_dir:
        # mmdet's hook has its own names for what mmpose's and mmpretrain's call enable and out_dir.
        hook = cfg.default_hooks.visualization
        detection = hook.type == 'DetVisualizationHook'
        hook.update({'draw': True, 'test_out_dir': args.show_dir} if detection else
                    {'enable': True, 'out_dir': args.show_dir})
    check_files(cfg, ['test_dataloader'], ['test_evaluator'])
    return cfg


def main() -> None:
    args = parse_args()
    with one_line_errors():
        cfg = prepare(args)
    runner = build_runner(cfg)
    if args.out:
        runner.test_evaluator.metrics.append(DumpResults(args.out))
    runner.test()


if __name__ == '__main__':
    main()
