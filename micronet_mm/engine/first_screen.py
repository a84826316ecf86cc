"""What a training prints first: a summary instead of the environment, the config and the list of hooks.

The log file still has all of it.
"""
import logging
import os.path as osp
from typing import Any

from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

LONGEST = 10  # lines of a message on the console


def is_short(record: logging.LogRecord) -> bool:
    """Return whether a record belongs on the console: warnings do, and messages of a few lines."""
    return record.levelno > logging.INFO or record.getMessage().count('\n') < LONGEST


class BriefRunner(Runner):
    """A Runner that writes its longest messages only to the log file."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_short)
        return logger


def summary(runner: Runner) -> str:
    """Return the model, data, initial weights, schedule and output folder of a run as text.

    Args:
        runner: after its train loop is built.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    loop, loader = runner.train_loop, runner.train_dataloader
    batch = getattr(loader.batch_sampler, 'batch_size', None)
    if isinstance(loop, EpochBasedTrainLoop):
        length = f'{loop.max_epochs} epochs of {len(loader)} iterations'
    else:
        length = f'{loop.max_iters} iterations'
    rate = (runner.cfg.optim_wrapper.get('optimizer') or {}).get('lr')
    rows = dict(
        model=f'{names(model)}, {sum(parameter.numel() for parameter in model.parameters()):,} parameters',
        data=f'{number(loader)} training images'
             + (f', {number(runner.val_dataloader)} validation images' if runner.val_loop else ''),
        weights=origin(runner, model),
        schedule=length + (f', batch size {batch}' if batch else '') + (f', learning rate {rate:g}' if rate else ''),
        output=osp.abspath(runner.work_dir),
        log=f'{osp.join(osp.abspath(runner.log_dir), runner.timestamp)}.log (environment, config, hooks)')
    return '\n'.join(f'{key:9} {value}' for key, value in rows.items())


def names(model: nn.Module) -> str:
    """Return the class of a model and of its backbone."""
    backbone = getattr(model, 'backbone', None)
    return type(model).__name__ + (f' with {type(backbone).__name__}' if backbone is not None else '')


def number(loader: Any) -> str:
    return f'{len(loader.dataset):,}' if hasattr(loader.dataset, '__len__') else 'streamed'


def origin(runner: Runner, model: nn.Module) -> str:
    """Return where the initial weights come from."""
    if runner._load_from:
        return f'{"resumed from" if runner._resume else "loaded from"} {runner._load_from}'
    files = {cfg['checkpoint']: name for name, module in model.named_modules()
             for cfg in as_list(getattr(module, 'init_cfg', None)) if cfg.get('type') == 'Pretrained'}
    return ', '.join(f'{name or "model"} from {file}' for file, name in files.items()) or 'random'


def as_list(init_cfg: Any) -> list:
    found = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return [cfg for cfg in found if isinstance(cfg, dict)]
