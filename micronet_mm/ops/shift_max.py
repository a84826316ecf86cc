"""Dynamic Shift-Max as a function of its input and its coefficients (Eq. 4 of the paper).

There are three equivalent implementations: the formula in PyTorch (:func:`reference_shift_max`), C++ for CPUs, and
Triton for GPUs. C++ and Triton save only the input and the coefficients for backward. :func:`shift_max` chooses one.
"""
from functools import cache
from typing import Optional

import torch
from torch import Tensor

from .compiled import has_code, is_off, library, warn_of_reference
from .cpp_function import TYPES
from .deferred import Deferred, settle
from .dispatch import must_use_reference
from .shift_max_cpu import CompiledShiftMax, both_ways
from .shift_max_formula import reference_shift_max


def shift_max(x: Tensor, coefficients: Tensor, groups: int, shift: str = 'grouped') -> Tensor:
    r"""Return the largest of K fusions, each a weighted sum of J circular channel shifts of ``x``.

    .. math:: y_i = \max_{1 \le k \le K} \sum_{j=0}^{J-1} a^k_{i,j} \, x_{\mathrm{roll}^j(i)}

    Args:
        x: (N, C, H, W), a tensor or a ``Deferred``.
        coefficients: (N, K, J, C), one per sample, fusion, shift and channel; or (1, K, J, C), the same for all
            samples. They have the type of ``x``.
        groups: G, the number of groups for the shifts; a divisor of C.
        shift: ``'grouped'`` or ``'paper'``, see :func:`channel_roll`.

    Returns:
        (N, C, H, W), in the memory format of ``x``. Equally large fusions share the gradient.

    For backward, C++ and Triton save ``x`` and ``coefficients``. The reference saves what its PyTorch operations save.
    """
    bias = None
    if isinstance(x, Deferred):
        x, coefficients, bias = of_raw(x, coefficients, groups, shift)
    if not must_use_reference(x, coefficients) and fits(x, coefficients, groups):
        fusions, shifts = coefficients.shape[1:3]
        if len(coefficients) < len(x):  # C++ and Triton expect coefficients for every sample
            coefficients, bias = (t if t is None else t.expand(len(x), *t.shape[1:]) for t in (coefficients, bias))
        if x.is_cpu and x.dtype in TYPES and library() is not None and has_code('shift_max', shifts, fusions):
            return CompiledShiftMax.apply(x, coefficients, bias, groups, shift)
        if x.is_cuda and bias is None and triton_shift_max() is not None and triton_shift_max().has_code(
                x.dtype, shifts, fusions):
            return triton_shift_max().apply(x, coefficients, groups, shift)
    return reference_shift_max(x, coefficients, groups, shift, bias)


def of_raw(x: Deferred, coefficients: Tensor, groups: int, shift: str) -> tuple[Tensor, Tensor, Optional[Tensor]]:
    """Return the raw tensor, with the scale and shift of each channel folded into coefficients and bias."""
    if not x.is_affine:
        return settle(x), coefficients, None
    if x.scale is None:
        return x.raw, coefficients, None
    partner, _ = both_ways(x.raw.shape[1], groups, coefficients.shape[2], shift)
    return x.raw, coefficients * x.scale[partner], (coefficients * x.shift[partner]).sum(2)


def fits(x: Tensor, coefficients: Tensor, groups: int) -> bool:
    """Whether C++ and Triton accept these inputs. The reference accepts more, or raises a clear error."""
    return (x.dim() == coefficients.dim() == 4 and x.numel() > 0 and coefficients.dtype == x.dtype
            and coefficients.device == x.device and groups > 0 and x.shape[1] % groups == 0
            and coefficients.shape[0] in (1, x.shape[0]) and coefficients.shape[3] == x.shape[1])


@cache
def triton_shift_max() -> Optional[type[torch.autograd.Function]]:
    """Return the Triton implementation, or None after one warning if it does not run."""
    if is_off():
        return None
    try:
        from .shift_max_triton import TritonShiftMax
        x = torch.zeros(1, 1, 1, 1, device='cuda', requires_grad=True)
        TritonShiftMax.apply(x, torch.ones_like(x), 1, 'grouped').sum().backward()
        return TritonShiftMax
    except Exception as error:  # errors of Triton, its compiler and the driver share no base class
        warn_of_reference(error)
        return None
