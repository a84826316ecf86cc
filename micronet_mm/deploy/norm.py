"""Folding normalization into the layer before it."""
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from micronet_mm.layers.conv_norm import LineConv2d
from micronet_mm.ops import computes


def folds(norm: nn.Module) -> bool:
    """Whether this is BN that only multiplies and adds constants."""
    return issubclass(computes(norm), _BatchNorm) and norm.running_mean is not None and not norm.training


def is_plain(conv: nn.Module) -> bool:
    """Whether this is a convolution whose weight and bias do what ``nn.Conv2d`` does with them, and no more."""
    return computes(conv) in (nn.Conv2d, LineConv2d)


def factors(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """BN in eval mode as a factor and a summand of each channel, both (C) in double precision."""
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = (variance + norm.eps).rsqrt()
    shift = -mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
    return scale, shift


def folded(layer: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution or linear layer with the BN behind it in them."""
    scale, shift = factors(norm)
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.dim() - 1))
    bias = shift if layer.bias is None else layer.bias.double() * scale + shift
    return weight.to(layer.weight.dtype), bias.to(layer.weight.dtype)
