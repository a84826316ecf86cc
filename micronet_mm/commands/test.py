"""Evaluate a checkpoint with the test set and metrics of a config: classification, detection or keypoints."""
import argparse

from mmengine.config import Config
from mmengine.evaluator import DumpResults

from micronet_mm.checkpoint import check_fits
from micronet_mm.checkpoint.atomic import make_folder, make_folder_of, refuse_to_overwrite
from micronet_mm.deploy.hook import SwitchToDeployHook
from micronet_mm.engine.checks import check_all
from micronet_mm.engine.checks.paths import find_dicts, require
from micronet_mm.engine.cli import (
    build_loops,
    build_runner,
    common_parser,
    load_config,
    one_line_errors,
    one_line_stops,
)
from micronet_mm.engine.gloo import leave_processes

# Engine and type of weights.
ENGINES = {'pytorch': ('pytorch', ), 'native': ('native', ), 'native-bfloat16': ('native', 'bfloat16'),
           'native-int8': ('native', 'int8')}


def parse_args() -> argparse.Namespace:
    parser = common_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='FILE.pkl', help='also write the predictions there')
    parser.add_argument('--show-dir', metavar='DIR', help='also draw the predictions there')
    parser.add_argument('--deploy', action='store_true', help='evaluate the deploy form of the model')
    parser.add_argument('--engine', choices=ENGINES,
                        help='what runs the deploy form (default: pytorch); native code is for the CPU')
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: predictions are written as a pickle, name a file that ends in .pkl')
    return args


def enable_drawing(cfg: Config, folder: str) -> None:
    """Have the host's visualization hook write into ``folder``."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if not hook:
        raise ValueError('--show-dir needs default_hooks.visualization in the config, as the default_runtime.py of '
                         'mmdet, mmpose and mmpretrain set it.')
    cfg.default_hooks.visualization = dict(type='DrawEachHook', hook=hook, out_dir=folder)


def prepare(args: argparse.Namespace) -> Config:
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    # The checkpoint brings the weights; the file that training started from is not needed.
    for part in find_dicts(cfg.model, 'init_cfg'):
        if isinstance(part.init_cfg, dict) and part.init_cfg.get('type') == 'Pretrained':
            part.init_cfg = None
    if args.out:
        refuse_to_overwrite(args.out, args.checkpoint, cfg.filename)
    if args.show_dir:
        enable_drawing(cfg, args.show_dir)
    check_all(cfg, ['test_dataloader'], ['test_evaluator'], args.no_checks)
    require(args.checkpoint, 'this evaluation', 'Name an existing checkpoint.')
    make_folder(cfg.work_dir)
    if args.out:
        make_folder_of(args.out)
    if args.show_dir:
        make_folder(args.show_dir)
    return cfg


def main() -> None:
    args = parse_args()
    with one_line_errors():
        cfg = prepare(args)
        runner = build_runner(cfg)
    if args.deploy or args.engine:
        runner.register_hook(SwitchToDeployHook(*ENGINES[args.engine or 'pytorch']))
    with one_line_errors():
        check_fits(getattr(runner.model, 'module', runner.model), args.checkpoint)
        build_loops(runner, 'test')
    if args.out:
        runner.test_evaluator.metrics.append(DumpResults(args.out))
    with one_line_stops():
        runner.test()
        leave_processes()
