"""Pooling of regions of interest."""
import torch
import torchvision
from torch import Tensor

from .errors import MissingOperatorError

# torchvision registers forward and backward of its operators under this name.
OPERATORS = torch.ops.torchvision
assert torchvision.ops.roi_align  # importing torchvision is what registers them


def computed(x: Tensor) -> Tensor:
    """``x`` in a type that torchvision has code for."""
    return x.float() if x.dtype == torch.bfloat16 or (x.dtype == torch.float16 and x.is_cpu) else x


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor,
                      aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                      pool_mode: int, aligned: bool) -> None:
    """Average bilinear samples in every bin of every region (RoIAlign).

    Args:
        input: (N, C, H, W).
        rois: (R, 5): sample, x1, y1, x2, y2.
        output: (R, C, aligned_height, aligned_width), written.
        pool_mode: 1, the average.

    Raises:
        MissingOperatorError: for ``pool_mode`` 0, the maximum.
    """
    if pool_mode != 1:
        raise MissingOperatorError("roi_align with pool_mode='max'")
    output.copy_(OPERATORS.roi_align(computed(input), computed(rois), spatial_scale, aligned_height, aligned_width,
                                     sampling_ratio, aligned))


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor,
                       aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    """Write the gradient of the input, (N, C, H, W)."""
    grad_input.copy_(OPERATORS._roi_align_backward(computed(grad_output), computed(rois), spatial_scale,
                                                   aligned_height, aligned_width, *grad_input.shape, sampling_ratio,
                                                   aligned))


def bins(start: Tensor, end: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
    """First and behind-the-last index of ``count`` equal bins from ``start`` to ``end``, in ``size``: (R, count)."""
    steps = torch.arange(count, device=start.device, dtype=start.dtype)
    width = ((end - start) / count)[:, None]
    first = (steps * width + start[:, None]).floor()
    last = ((steps + 1) * width + start[:, None]).ceil()
    return first.clamp(0, size).long(), last.clamp(0, size).long()


def padded(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The indices of some bins side by side, the shorter ones padded with 0, and which are none: (count, longest)."""
    indices = first[:, None] + torch.arange(max(int((last - first).max()), 1), device=first.device)
    outside = indices >= last[:, None]
    return indices.masked_fill(outside, 0), outside


def roi_pool_forward(input: Tensor, rois: Tensor, output: Tensor, argmax: Tensor, pooled_height: int,
                     pooled_width: int, spatial_scale: float) -> None:
    """The maximum in every bin of every region (RoIPool), 0 in empty ones.

    Regions reach one pixel beyond x2 and y2 and are not rounded before they are cut into bins, unlike torchvision's.

    Args:
        input: (N, C, H, W).
        rois: (R, 5): sample, x1, y1, x2, y2.
        output: (R, C, pooled_height, pooled_width), written.
        argmax: like ``output``, int32: position of the maximum in its plane, -1 where the bin is empty.
    """
    height, width = input.shape[2:]
    start, end = rois[:, 1:3] * spatial_scale, (rois[:, 3:] + 1) * spatial_scale
    columns, rows = (bins(start[:, axis], end[:, axis], count, size)
                     for axis, (count, size) in enumerate(((pooled_width, width), (pooled_height, height))))
    output.zero_()
    argmax.fill_(-1)
    for index in (end > start).all(1).nonzero()[:, 0].tolist():
        (y, no_y), (x, no_x) = (padded(first[index], last[index]) for first, last in (rows, columns))
        places = (y * width)[:, None, :, None] + x[None, :, None, :]  # (bins down, bins across, rows, columns)
        outside = (no_y[:, None, :, None] | no_x[None, :, None, :]).flatten(2)
        values = input[int(rois[index, 0])].flatten(1)[:, places.flatten(2)].masked_fill(outside, float('-inf'))
        largest, at = values.max(-1)
        found = largest > float('-inf')
        output[index] = torch.where(found, largest, 0)
        position = places.flatten(2).expand_as(values).gather(-1, at[..., None])[..., 0]
        argmax[index] = torch.where(found, position, -1).int()


def roi_pool_backward(grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, pooled_height: int,
                      pooled_width: int, spatial_scale: float) -> None:
    """Write the gradient of the input, (N, C, H, W)."""
    _, channels, height, width = grad_input.shape
    plane = (rois[:, :1].long() * channels + torch.arange(channels, device=rois.device))[..., None, None]
    found = argmax >= 0
    places = (plane * height * width + argmax)[found]
    grad_input.zero_().view(-1).index_add_(0, places, grad_output[found])
