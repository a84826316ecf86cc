"""Mixed precision that needs no accelerator."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Train in bfloat16 by autocast, on CPUs and accelerators alike.

    MMEngine's AmpOptimWrapper refuses CPUs, for the sake of a loss scaler that bfloat16, with the range of float32, has
    no use for. Weights, gradients and what the checkpoint holds stay in float32.

    Args:
        **kwargs: as for MMEngine's OptimWrapper.

    Example:
        >>> optim_wrapper = dict(type='Bf16OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
