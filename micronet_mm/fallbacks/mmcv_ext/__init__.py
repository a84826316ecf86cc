"""In the place of ``mmcv._ext``: the operators of mmcv that detectors and pose models use, on CPU and CUDA alike.

Functions have the names and arguments that ``mmcv.ops`` calls them by, which write into tensors that they are given.
Any operator that is not here raises :class:`MissingOperatorError` when it is called.
"""
from collections.abc import Callable
from typing import Any

from .attention import ms_deform_attn_backward, ms_deform_attn_forward
from .deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .errors import MissingOperatorError
from .focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from .nms import nms, nms_match, softnms
from .roi import roi_align_backward, roi_align_forward, roi_pool_backward, roi_pool_forward

__all__ = [
    'MissingOperatorError', 'deform_conv_backward_input', 'deform_conv_backward_parameters', 'deform_conv_forward',
    'get_compiler_version', 'get_compiling_cuda_version', 'modulated_deform_conv_backward',
    'modulated_deform_conv_forward', 'ms_deform_attn_backward', 'ms_deform_attn_forward', 'nms', 'nms_match',
    'roi_align_backward', 'roi_align_forward', 'roi_pool_backward', 'roi_pool_forward', 'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward', 'softmax_focal_loss_backward', 'softmax_focal_loss_forward', 'softnms'
]


def get_compiler_version() -> str:
    """What ``mmcv.ops`` reports of its build."""
    return "none: micronet_mm's fallback"


get_compiling_cuda_version = get_compiler_version


def __getattr__(name: str) -> Callable:
    # mmcv.ops asks for all of its operators when it is imported, so a missing one shows when it is called.
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise MissingOperatorError(name)

    return refuse
