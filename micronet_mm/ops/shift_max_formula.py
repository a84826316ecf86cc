"""Reference implementation of Dynamic Shift-Max in PyTorch operations, for parity tests and for tracing."""
from typing import Optional

import torch
from torch import Tensor

from .channels import channel_roll


def reference_shift_max(x: Tensor, coefficients: Tensor, groups: int, shift: str = 'grouped',
                        bias: Optional[Tensor] = None) -> Tensor:
    """Compute :func:`shift_max` by the formula, for export, compilers, double backward and parity tests.

    ``bias``, (N, K, C), is added to the fusions.
    """
    shifted = [channel_roll(x, groups, j, shift) for j in range(coefficients.shape[2])]
    fusions = []
    for k in range(coefficients.shape[1]):
        fusion = coefficients[:, k, 0, :, None, None] * shifted[0]
        for j in range(1, coefficients.shape[2]):
            fusion = fusion + coefficients[:, k, j, :, None, None] * shifted[j]
        fusions.append(fusion if bias is None else fusion + bias[:, k, :, None, None])
    if len(fusions) == 1:
        return fusions[0]
    return torch.maximum(fusions[0], fusions[1]) if len(fusions) == 2 else torch.stack(fusions).amax(0)


def partners(channels: int, groups: int, shifts: int, shift: str) -> Tensor:
    """Return the partner of each channel for every shift j, (J, C)."""
    numbers = torch.arange(channels, device='cpu').view(1, -1)  # ignore the default device
    return torch.cat([channel_roll(numbers, groups, steps, shift) for steps in range(shifts)]).contiguous()


def gathered_shift_max(x: Tensor, coefficients: Tensor, partner: Tensor) -> Tensor:
    """Compute :func:`shift_max` without a loop, so that the TorchScript version can be exported to ONNX.

    It needs K * J times the memory of ``x``. ``partner`` is the result of :func:`partners`, (J, C).
    """
    return (coefficients[..., None, None] * x[:, partner][:, None]).sum(2).amax(1)
