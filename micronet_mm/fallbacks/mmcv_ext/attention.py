"""Deformable attention over several levels, by mmcv's own formulation in PyTorch."""
import torch
from torch import Tensor


def ms_deform_attn_forward(value: Tensor, value_spatial_shapes: Tensor, value_level_start_index: Tensor,
                           sampling_locations: Tensor, attention_weights: Tensor, im2col_step: int) -> Tensor:
    """Attend to a few points of every level.

    Args:
        value: (N, keys of all levels, heads, channels of a head).
        value_spatial_shapes: (levels, 2), height and width of each.
        value_level_start_index: (levels), which the shapes say as well.
        sampling_locations: (N, queries, heads, levels, points, 2), x and y from 0 to 1.
        attention_weights: (N, queries, heads, levels, points).

    Returns:
        (N, queries, heads * channels of a head).
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
    return multi_scale_deformable_attn_pytorch(value, value_spatial_shapes.tolist(), sampling_locations,
                                               attention_weights)


def ms_deform_attn_backward(value: Tensor, value_spatial_shapes: Tensor, value_level_start_index: Tensor,
                            sampling_locations: Tensor, attention_weights: Tensor, grad_output: Tensor,
                            grad_value: Tensor, grad_sampling_loc: Tensor, grad_attn_weight: Tensor,
                            im2col_step: int) -> None:
    """Write the gradients of values, locations and weights."""
    inputs = [tensor.detach().requires_grad_() for tensor in (value, sampling_locations, attention_weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(inputs[0], value_spatial_shapes, value_level_start_index, *inputs[1:],
                                        im2col_step)
    found = torch.autograd.grad(output, inputs, grad_output)
    for written, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), found):
        written.copy_(gradient)
