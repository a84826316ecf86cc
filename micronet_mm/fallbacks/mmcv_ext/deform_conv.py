"""Deformable convolutions, versions 1 and 2 (modulated).

Offsets are (N, 2 * deformable_group * kH * kW, H', W'), a vertical and a horizontal one for each point of the kernel;
masks have half as many channels. Both libraries have them in this order.
"""
from typing import Optional

import torch
import torchvision
from torch import Tensor

backward_of = torch.ops.torchvision._deform_conv2d_backward


def gradients(grad_output: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Optional[Tensor],
              stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], group: int,
              deformable_group: int) -> tuple[Tensor, ...]:
    """Of input, weight, offset, mask and bias."""
    # A mask that is not used must still have rows to choose from.
    given = input.new_zeros(len(input), 1) if mask is None else mask
    return backward_of(grad_output, input, weight, offset, given, input.new_zeros(len(weight)), *stride, *padding,
                       *dilation, group, deformable_group, mask is not None)


def deform_conv_forward(input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor,
                        kW: int, kH: int, dW: int, dH: int, padW: int, padH: int, dilationW: int, dilationH: int,
                        group: int, deformable_group: int, im2col_step: int) -> None:
    """Write the convolution into ``output``; ``columns`` and ``ones`` are mmcv's scratch and stay as they are."""
    output.copy_(torchvision.ops.deform_conv2d(input, offset, weight, None, (dH, dW), (padH, padW),
                                               (dilationH, dilationW)))


def deform_conv_backward_input(input: Tensor, offset: Tensor, grad_output: Tensor, grad_input: Tensor,
                               grad_offset: Tensor, weight: Tensor, columns: Tensor, kW: int, kH: int, dW: int,
                               dH: int, padW: int, padH: int, dilationW: int, dilationH: int, group: int,
                               deformable_group: int, im2col_step: int) -> None:
    """Write the gradients of input and offset."""
    of_input, _, of_offset, *_ = gradients(grad_output, input, weight, offset, None, (dH, dW), (padH, padW),
                                           (dilationH, dilationW), group, deformable_group)
    grad_input.copy_(of_input)
    grad_offset.copy_(of_offset)


def deform_conv_backward_parameters(input: Tensor, offset: Tensor, grad_output: Tensor, grad_weight: Tensor,
                                    columns: Tensor, ones: Tensor, kW: int, kH: int, dW: int, dH: int, padW: int,
                                    padH: int, dilationW: int, dilationH: int, group: int, deformable_group: int,
                                    scale: float, im2col_step: int) -> None:
    """Add ``scale`` times the gradient of the weight to ``grad_weight``, which has the weight's shape."""
    of_weight = gradients(grad_output, input, grad_weight, offset, None, (dH, dW), (padH, padW),
                          (dilationH, dilationW), group, deformable_group)[1]
    grad_weight.add_(of_weight, alpha=scale)


def modulated_deform_conv_forward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                  mask: Tensor, output: Tensor, columns: Tensor, kernel_h: int, kernel_w: int,
                                  stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int,
                                  dilation_w: int, group: int, deformable_group: int, with_bias: bool) -> None:
    """Write the convolution into ``output``."""
    output.copy_(torchvision.ops.deform_conv2d(input, offset, weight, bias if with_bias else None,
                                               (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), mask))


def modulated_deform_conv_backward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                   mask: Tensor, columns: Tensor, grad_input: Tensor, grad_weight: Tensor,
                                   grad_bias: Tensor, grad_offset: Tensor, grad_mask: Tensor, grad_output: Tensor,
                                   kernel_h: int, kernel_w: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
                                   dilation_h: int, dilation_w: int, group: int, deformable_group: int,
                                   with_bias: bool) -> None:
    """Write the gradients; that of the bias only ``with_bias``."""
    found = gradients(grad_output, input, weight, offset, mask, (stride_h, stride_w), (pad_h, pad_w),
                      (dilation_h, dilation_w), group, deformable_group)
    for written, value in zip((grad_input, grad_weight, grad_offset, grad_mask), found):
        written.copy_(value)
    if with_bias:
        grad_bias.copy_(found[4])
