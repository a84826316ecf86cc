"""Train from a config: classification, detection or keypoints."""
import argparse
import os.path as osp

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from micronet_mm.checkpoint import check_fits, check_initial_weights
from micronet_mm.checkpoint.atomic import make_folder
from micronet_mm.checkpoint.newest import check_resumable
from micronet_mm.checkpoint.reading import require_file
from micronet_mm.engine.checks import check_all
from micronet_mm.engine.checks.paths import require
from micronet_mm.engine.cli import (
    build_loops,
    build_runner,
    common_parser,
    enable_amp,
    enable_auto_scale_lr,
    load_config,
    one_line_errors,
    one_line_stops,
)
from micronet_mm.engine.first_screen import summary
from micronet_mm.engine.gloo import leave_processes
from micronet_mm.engine.hooks import LastBatchHook, ResumeConfigHook
from micronet_mm.engine.hooks.preemption import keeping_epoch
from micronet_mm.engine.resume import resume_newest


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
    if args.resume and args.resume != 'auto':
        cfg.resume, cfg.load_from = True, args.resume
    validates = ['val'] if cfg.get('val_cfg') is not None else []  # mmpretrain's is empty
    loaders = [f'{phase}_dataloader' for phase in ['train', *validates]]
    evaluators = [f'{phase}_evaluator' for phase in validates]
    check_all(cfg, loaders, evaluators, args.no_checks)
    if args.resume != 'auto':
        check_start(cfg)
    make_folder(cfg.work_dir)
    return cfg


def check_start(cfg: Config) -> None:
    """Raise if what the run is to begin with is not there, or cannot be resumed from."""
    if cfg.get('load_from'):
        require(cfg.load_from, 'load_from', 'Name an existing checkpoint.')
        if cfg.get('resume') and osp.exists(cfg.load_from):
            if 'runner_type' not in cfg:  # whose strategies write folders
                require_file(cfg.load_from)
            check_resumable(cfg.load_from)


def kept_in(folder: str) -> str:
    """What is said of the checkpoints in a work dir, if there are any."""
    return ' Checkpoints are kept: --resume goes on from the last one.' if osp.exists(
        osp.join(folder, 'last_checkpoint')) else ''


def main() -> None:
    args = parse_args()
    with one_line_errors():
        cfg = prepare(args)
    with one_line_stops():
        with one_line_errors():
            runner = build_runner(cfg)
        resumes = bool(cfg.get('resume'))
        if args.resume == 'auto':
            resumes = resume_newest(runner)
            if not resumes:
                with one_line_errors():
                    check_start(cfg)
        model = getattr(runner.model, 'module', runner.model)
        with one_line_errors():
            if not resumes:
                check_initial_weights(model, cfg.get('load_from'))
            elif runner._load_from and osp.isfile(runner._load_from):
                check_fits(model, runner._load_from)
            build_loops(runner, 'train', 'val')
        for kind in (ResumeConfigHook, LastBatchHook):
            if not any(isinstance(hook, kind) for hook in runner.hooks):  # configs of other packages
                runner.register_hook(kind())
        if is_main_process() and isinstance(runner, Runner):  # no other runner_type
            print(summary(runner), flush=True)
        with one_line_stops(lambda: kept_in(runner.work_dir)), keeping_epoch(runner):
            runner.train()
        leave_processes()
