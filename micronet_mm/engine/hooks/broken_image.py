"""How many images may be broken."""
import logging
from typing import Any, Optional

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from micronet_mm.datasets.loading import skipped_images
from micronet_mm.engine.errors import TooManyBrokenImagesError
from micronet_mm.validation import COUNT, FRACTION, checked, integer


@HOOKS.register_module()
class BrokenImageHook(Hook):
    """Count the images that ``LoadImageOrSkip`` skips; end the run when they are too many.

    The log has the path of each when it is skipped, and their number at the end of an epoch. An image counts once,
    however often it is drawn. Processes know of each other's images at the end of an epoch, and every ``interval``
    iterations.

    Args:
        max_share: the run ends when an epoch skipped more than this share of the dataset. Without epochs, the whole
            run counts.
        spare: number of images that may always be skipped, for small datasets.
        interval: iterations between two exchanges of several processes.

    Raises:
        TooManyBrokenImagesError: from within the run.

    Example:
        >>> custom_hooks = [dict(type='BrokenImageHook', max_share=0.01)]
    """

    @checked(max_share=FRACTION, spare=integer(0), interval=COUNT)
    def __init__(self, max_share: float = 0.01, spare: int = 10, interval: int = 100) -> None:
        self.max_share = max_share
        self.spare = spare
        self.interval = interval

    def before_train_epoch(self, runner: Runner) -> None:
        skipped_images().zero_()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        self.check(runner, skipped_anywhere() if self.every_n_train_iters(runner, self.interval) else skipped_here())

    def after_train_epoch(self, runner: Runner) -> None:
        skipped = skipped_anywhere()
        self.check(runner, skipped)
        if skipped:
            print_log(f'{len(skipped)} of {len(runner.train_dataloader.dataset)} images were broken and skipped '
                      f'{period(runner)}', 'current', logging.WARNING)

    def check(self, runner: Runner, skipped: set[int]) -> None:
        """Raise if these are too many."""
        images = len(runner.train_dataloader.dataset)
        allowed = max(self.spare, int(self.max_share * images))
        if len(skipped) > allowed:
            raise TooManyBrokenImagesError(
                f'{len(skipped)} broken images were skipped {period(runner)}, and of {images} only {allowed} may be. '
                'Their paths are in the log above: restore them, take them out of the dataset, or raise max_share of '
                'BrokenImageHook.')


def period(runner: Runner) -> str:
    """Return the period of the count, for messages."""
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    return f'in epoch {runner.epoch + 1}' if by_epoch else f'up to iteration {runner.iter + 1}'


def skipped_here() -> set[int]:
    """Return the images that this process and its workers skipped."""
    table = skipped_images()
    return set(table[table != 0].tolist())


def skipped_anywhere() -> set[int]:
    """Return the images that all processes skipped."""
    return set().union(*all_gather_object(skipped_here()))
