"""Stop at a loss that is not finite, and say where it came from."""
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from micronet_mm.engine.errors import InvalidLossError
from micronet_mm.validation import COUNT, checked


class Step(NamedTuple):
    """What is remembered of an iteration until its losses are looked at."""
    iteration: int
    epoch: int
    lr: float
    paths: list[str]
    names: list[str]
    losses: torch.Tensor


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """End training when a loss is NaN or infinite, before such weights are saved.

    The error names the losses, the iteration, the learning rate and the images of the batch. Losses stay on their
    device. They are checked every ``interval`` iterations and before each checkpoint, so the host does not wait for the
    accelerator in every iteration.

    Args:
        interval: iterations between two checks.

    Raises:
        InvalidLossError: from within the run.

    Example:
        >>> custom_hooks = [dict(type='InvalidLossHook', interval=10)]
    """
    priority = 'VERY_HIGH'

    @checked(interval=COUNT)
    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self.steps: list[Step] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        losses = {name: value.detach().float().mean() for name, value in (outputs or {}).items()
                  if 'loss' in name and isinstance(value, torch.Tensor)}
        if losses:
            lr = next(iter(runner.optim_wrapper.get_lr().values()))[0]
            self.steps.append(Step(runner.iter + 1, runner.epoch + 1, lr, list(image_paths(data_batch)), list(losses),
                                   torch.stack(list(losses.values()))))
        if self.every_n_train_iters(runner, self.interval):
            self.look(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self.look(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self.look(runner)

    def look(self, runner: Runner) -> None:
        """Raise for the first invalid loss of the iterations since the last look."""
        steps, self.steps = self.steps, []
        if not steps or torch.stack([step.losses.sum() for step in steps]).isfinite().all():
            return
        step = next(step for step in steps if not step.losses.isfinite().all())
        invalid = ', '.join(f'{name} is {value:g}' for name, value in zip(step.names, step.losses.tolist())
                            if not torch.tensor(value).isfinite())
        named = Path(runner.work_dir) / 'last_checkpoint'
        kept = f'the last good checkpoint, {named.read_text()}, is kept' if named.exists() else 'none was saved yet'
        raise InvalidLossError(
            f'{invalid} at iteration {step.iteration} (epoch {step.epoch}), learning rate {step.lr:g}; {kept}. Images '
            f'of the batch: {", ".join(step.paths) or "unknown"}. Look at these, or lower the learning rate or clip '
            'gradients (optim_wrapper.clip_grad), and resume.')


def image_paths(node: Any) -> Iterator[str]:
    """The paths of the images in a batch, wherever its data samples stand."""
    if isinstance(node, dict):
        for child in node.values():
            yield from image_paths(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from image_paths(child)
    elif hasattr(node, 'metainfo') and node.metainfo.get('img_path'):
        yield str(node.metainfo['img_path'])
