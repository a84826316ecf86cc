"""Training at the end as the network will run."""
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from micronet_mm.validation import FRACTION, checked


@HOOKS.register_module()
class FreezeNormHook(Hook):
    """Normalize by running statistics in the last part of a training; weights are still learned.

    Dynamic Shift-Max multiplies an image's activations by coefficients that grow with the activations. In training, an
    unusual image in a small batch raises the batch variance and so limits itself. In evaluation nothing limits it. A
    network that never trained with its running statistics can be much worse than its losses suggest.
    docs/micro_det.md has the measurements.

    Args:
        begin: share of the run after which BN uses running statistics, from 0 (always) to 1 (never).

    Raises:
        ValueError: if ``begin`` is not from 0 to 1.

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
            for norm in self.norms:  # each evaluation sets the whole model to training mode again
                norm.eval()
