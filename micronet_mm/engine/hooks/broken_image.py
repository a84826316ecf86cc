"""How many images of an epoch may be broken."""
import logging
from typing import Any, Optional

from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from micronet_mm.datasets.loading import SKIPPED
from micronet_mm.engine.errors import TooManyBrokenImagesError


@HOOKS.register_module()
class BrokenImageHook(Hook):
    """Count the images that ``LoadImageOrSkip`` skips; end the run when they are too many.

    The log has the path of each when it is skipped, and their number at the end of an epoch.

    Args:
        max_share: the run ends when more than this share of the dataset was skipped within one epoch.
        spare: this many are allowed in any case, for the sake of small datasets.

    Raises:
        TooManyBrokenImagesError: from within the run.

    Example:
        >>> custom_hooks = [dict(type='BrokenImageHook', max_share=0.01)]
    """

    def __init__(self, max_share: float = 0.01, spare: int = 10) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f'max_share={max_share} of BrokenImageHook must be between 0 and 1.')
        self.max_share = max_share
        self.spare = spare

    def before_train_epoch(self, runner: Runner) -> None:
        SKIPPED.zero_()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        skipped, images = int(SKIPPED.sum()), len(runner.train_dataloader.dataset)
        allowed = max(self.spare, int(self.max_share * images))
        # Each process loads its part of the dataset.
        if skipped * get_world_size() > allowed:
            raise TooManyBrokenImagesError(
                f'{skipped} broken images were skipped in epoch {runner.epoch + 1}, and of {images} only {allowed} may '
                'be. Their paths are in the log above: restore them, take them out of the dataset, or raise max_share '
                'of BrokenImageHook.')

    def after_train_epoch(self, runner: Runner) -> None:
        total = SKIPPED.sum()
        all_reduce(total)
        if total:
            images = len(runner.train_dataloader.dataset)
            print_log(f'{int(total)} of {images} images were broken and skipped in epoch {runner.epoch + 1}', 'current',
                      logging.WARNING)
