"""Training at the end as the network will run."""
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from micronet_mm.validation import FRACTION, checked


@HOOKS.register_module()
class FreezeNormHook(Hook):
    """Have BN normalize by its running statistics in the last part of a training; weights are still learned.

    Dynamic Shift-Max multiplies an image's activations by coefficients that grow with them. In training an image that
    stands out in a small batch is held back by the variance that it makes itself; in evaluation it is not, and a
    network that has never met its own running statistics can be far worse than its losses say. See
    docs/micro_det.md for what that costs and what this gains.

    Args:
        begin: from which share of the run on, from 0 (all of it) to 1 (nothing).

    Raises:
        ValueError: if ``begin`` is no such share.

    Example:
        >>> custom_hooks = [dict(type='FreezeNormHook', begin=0.8)]
    """

    @checked(begin=FRACTION)
    def __init__(self, begin: float = 0.8) -> None:
        self.begin = begin

    def before_train(self, runner: Runner) -> None:
        self.norms = [module for module in runner.model.modules() if isinstance(module, _BatchNorm)]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter >= self.begin * runner.max_iters:
            for norm in self.norms:  # which whoever evaluates puts back into training with the rest of the model
                norm.eval()
