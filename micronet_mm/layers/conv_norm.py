"""A convolution and its normalization."""
from typing import Optional, Union

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import constant_init, kaiming_init
from mmengine.registry import MODELS
from torch import Tensor, nn

from micronet_mm.ops import Deferred, Moments, conv_with_moments, has_hooks, is_alike, line_conv, must_use_reference
from micronet_mm.validation import BUILT, COUNT, NORM, checked, either, integer, optional, sequence_of

from .chain import Chain

Pair = Union[int, tuple[int, int]]
SIDES = either(COUNT, sequence_of(COUNT, 2))


@MODELS.register_module('LineConv')
class LineConv2d(nn.Conv2d):
    """A depthwise ``nn.Conv2d`` of k x 1 or 1 x k, k odd, computed by :func:`micronet_mm.ops.line_conv`.

    Its name in mmcv's ``conv_cfg`` is ``LineConv``. Parameters, state and result are the same as for ``nn.Conv2d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        # A filter of length 1 has no axis. A bias exists after BN was folded into the convolution.
        if torch.jit.is_scripting() or max(self.kernel_size) == 1 or self.bias is not None:
            return self._conv_forward(x, self.weight, self.bias)
        else:  # TorchScript skips this branch
            return self._conv_forward(x, self.weight, None) if must_use_reference(x) else line_conv(
                x, self.weight, max(self.stride))


class ConvNorm(Chain):
    """A convolution without a bias, followed by normalization; no activation.

    With BN, a deferred input gives a deferred output. The convolution computes the moments of its output. BN becomes a
    pending scale and shift that the next operator applies. Parameter names and initial values follow mmcv's ConvModule.

    Args:
        in_channels: input channels of the convolution.
        out_channels: output channels of the convolution.
        kernel_size: kernel size of the convolution.
        stride: stride of the convolution.
        padding: zero padding of the convolution.
        groups: groups of the convolution.
        conv_cfg: config of the convolution layer for mmcv.
        norm_cfg: config of the normalization layer for mmcv. None gives the convolution a bias instead.

    Shapes: (N, in_channels, H, W) to (N, out_channels, H', W').
    """

    @checked(in_channels=COUNT, out_channels=COUNT, kernel_size=SIDES, stride=SIDES,
             padding=either(integer(0), sequence_of(integer(0), 2)), groups=COUNT, norm_cfg=NORM,
             conv_cfg=optional(BUILT, 'Conv2d'))
    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: Pair,
                 stride: Pair = 1,
                 padding: Pair = 0,
                 groups: int = 1,
                 conv_cfg: Optional[dict] = None,
                 norm_cfg: Optional[dict] = dict(type='BN')) -> None:
        conv = build_conv_layer(conv_cfg, in_channels, out_channels, kernel_size, stride, padding, groups=groups,
                                bias=norm_cfg is None)
        kaiming_init(conv)
        layers = dict(conv=conv)
        if norm_cfg is not None:
            name, norm = build_norm_layer(norm_cfg, out_channels)
            constant_init(norm, 1)
            layers[name] = norm
        super().__init__(layers)

    def deferred(self, x: Union[Tensor, Deferred]) -> Union[Tensor, Deferred]:
        conv, *norms = self
        if not (isinstance(x, Deferred) and len(norms) == 1 and is_plain(conv) and conv.bias is None
                and is_plain_norm(norms[0], conv.weight)):
            return super().deferred(x)
        raw, moments = conv_with_moments(x, conv.weight, conv.stride, conv.padding, conv.groups)
        scale, shift = batch_norm(norms[0], moments, raw[:, 0].numel())
        return Deferred(raw.contiguous(), scale, shift, mean=moments.mean)


def is_plain(conv: nn.Module) -> bool:
    """Whether :func:`conv_with_moments` can replace a call of this module."""
    return (type(conv) in (nn.Conv2d, LineConv2d) and conv.dilation == (1, 1)
            and conv.padding_mode == 'zeros' and not has_hooks(conv))


def is_plain_norm(norm: nn.Module, weight: Tensor) -> bool:
    """Whether :func:`batch_norm` can replace a call of this module after a convolution with this weight."""
    if not (type(norm) is nn.BatchNorm2d and norm.affine and norm.track_running_stats and not has_hooks(norm)):
        return False
    tensors = norm.weight, norm.bias, norm.running_mean, norm.running_var
    return is_alike(weight, *tensors) and {tensor.shape for tensor in tensors} == {weight.shape[:1]}


def batch_norm(norm: nn.BatchNorm2d, moments: Moments, count: int) -> tuple[Tensor, Tensor]:
    """Return BN as a scale and a shift per channel, both (C).

    In training mode, update the running statistics.

    Args:
        norm: BN layer.
        moments: moments of its input.
        count: number of values in a channel.
    """
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        if count == 1:
            raise ValueError('BN in training mode needs more than one value per channel; this batch has one image with '
                             'one position. Use more images or larger images, or call eval().')
        mean, variance = moments.mean.mean(0), moments.variance
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            momentum = norm.momentum if norm.momentum is not None else 1 / norm.num_batches_tracked.item()
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)), momentum)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return scale, torch.addcmul(norm.bias, mean, scale, value=-1)
