"""The last batch of an epoch where one image is left over."""
from collections.abc import Mapping
from typing import Any, Optional

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # SyncBN has the images of other processes


@HOOKS.register_module()
class LastBatchHook(Hook):
    """Normalize a last batch of one image by running statistics.

    33 images in batches of 32 leave one image over. ``BatchNorm1d`` refuses such a batch, and other layers would use
    the statistics of a single image. With running statistics the image is learned like any other. If all batches have
    one image, the hook does nothing.

    Example:
        >>> custom_hooks = [dict(type='LastBatchHook')]
    """

    def __init__(self) -> None:
        self.frozen: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if getattr(loader.batch_sampler, 'batch_size', 1) > 1 and len(loader.dataset) == 1:
            runner.logger.warning('The training data is one image: every batch norm normalizes it by running '
                                  'statistics, which stay as they are.')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        usual = getattr(runner.train_dataloader.batch_sampler, 'batch_size', 1)
        if usual > 1 and number_of_images(data_batch) == 1:
            self.frozen = [module for module in runner.model.modules() if isinstance(module, NORMS)
                           and not isinstance(module, nn.SyncBatchNorm) and module.training]
            for norm in self.frozen:
                norm.eval()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        for norm in self.frozen:
            norm.train()
        self.frozen = []


def number_of_images(data_batch: Any) -> Optional[int]:
    """How many images a batch has, as far as it tells."""
    inputs = data_batch.get('inputs') if isinstance(data_batch, Mapping) else None
    return len(inputs) if hasattr(inputs, '__len__') and not isinstance(inputs, Mapping) else None
