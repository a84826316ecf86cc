"""Several processes on CPUs: what MMEngine, PyTorch's SyncBatchNorm and gloo need to go together."""
import os
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


def use_gloo(cfg: Config) -> None:
    """Join the processes of torchrun with gloo, and wrap the model for CPUs.

    MMEngine's own start-up would select a CUDA device; it skips processes that have already joined.
    """
    if not dist.is_initialized():
        dist.init_process_group('gloo', rank=int(os.environ['RANK']), world_size=int(os.environ['WORLD_SIZE']))
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='CpuDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))


def leave_processes() -> None:
    """Destroy the process groups; a process that exits before their threads end may be aborted."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


class CpuSyncBatchNorm(_BatchNorm):
    """SyncBatchNorm for processes on CPUs, where PyTorch's SyncBatchNorm refuses to run.

    Mean and variance are computed over the batches of all processes, and gradients too. With one process, or in eval
    mode, the layer is BatchNorm. Each layer needs two reductions, of C + 1 and of C numbers: the variance is computed
    around the joint mean, because the difference of large sums would lose digits.

    Shapes: (N, C, ...) to (N, C, ...).
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        x = input if input.dtype == torch.double else input.float()
        size = x.new_tensor([x.numel() / x.shape[1]])
        total, count = all_reduce(torch.cat([x.sum(axes), size])).split([x.shape[1], 1])
        centred = x - (mean := total / count).view(shape)
        variance = all_reduce(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self.num_batches_tracked += 1
            momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / (count - 1), momentum)
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of axes after (N, C)."""


@MODEL_WRAPPERS.register_module()
class CpuDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's DistributedDataParallel for CPUs, with a SyncBN that works.

    Args:
        module: the model. Its SyncBatchNorm layers become :class:`CpuSyncBatchNorm`, keeping their parameters.
        **kwargs: as for MMDistributedDataParallel, less the devices.
    """

    def __init__(self, module: nn.Module, **kwargs: Any) -> None:
        for layer in module.modules():
            if type(layer) is nn.SyncBatchNorm:
                layer.__class__ = CpuSyncBatchNorm  # the same state, another forward
        super().__init__(module, **{**kwargs, 'device_ids': None})
