"""The deploy form of a network: the same function of an image, by fewer and plainer steps.

Normalization is folded into the convolution or linear layer before it, and nothing of a Micro-Block is left but
convolutions with a bias, clamps, Shift-Max, sums, and as few permutations as there can be.

A permutation of channels is not carried out where it stands. Each tensor lies in memory in some order, and the layers
that read it are rearranged instead: a depthwise convolution, an activation and Shift-Max work in any order, and so does
a convolution of one group; one of several groups only needs the channels of each group to be together. Only where they
are not is the tensor put in order. Two group convolutions with a shuffle between them leave one permutation, and
Shift-Max one for each shift.
"""
from copy import copy
from typing import Optional

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModel
from torch import Tensor, nn

from micronet_mm.deploy.layers import Affine, DeployBlock, DeployShiftMax, DeployStem, Filters, Permutation
from micronet_mm.deploy.norm import folded, folds, is_plain
from micronet_mm.deploy.plan.linear import WEIGHTS
from micronet_mm.layers import (
    Activation,
    Chain,
    ChannelRoll,
    ChannelShuffle,
    ConvNorm,
    DynamicShiftMax,
    ShiftMax,
    SpatialAttention,
    StaticShiftMax,
)
from micronet_mm.models import MicroNet, MicroNetClassifier, MicroStem
from micronet_mm.models.deployable import Deployable
from micronet_mm.ops import computes, has_hooks
from micronet_mm.validation import checked, instance, one_of, shown

WEIGHTS_OF = dict(pytorch=('float32', ), native=WEIGHTS)  # each engine
ENGINES = tuple(WEIGHTS_OF)
Order = Tensor  # (C): logical channel i lies at place order[i]


@checked(model=instance(nn.Module, 'a module'), engine=one_of(*ENGINES))
def switch_to_deploy(model: nn.Module, engine: str = 'pytorch', weights: str = 'float32') -> nn.Module:
    """Put a model into its deploy form, in place; it stays in eval mode and is not meant to be trained.

    MicroNets, their heads and all Micro-Blocks, wherever they are, get the form that this file describes. What computes
    something else than its class says stays as it is: subclasses with another ``forward``, modules with a ``forward``
    of their own, with hooks or parametrized weights. In the rest
    of the model mmcv's ConvModules lose their BN, and what has a ``switch_to_deploy`` of its own, as MobileOne in
    mmpretrain, is asked to. A network that is in its deploy form already stays as it is.

    Args:
        model: of any of MMLab's packages, or a part of one.
        engine: what runs it: 'pytorch', or 'native', the C++ of this package, which is for inference in float32 on the
            CPU (docs/native.md). Parts that there is no native code for, such as dense heads, run in PyTorch, with a
            warning that names it.
        weights: of linear layers in native code, 'float32', or 'bfloat16' or 'int8', each faster and less exact.

    Returns:
        The model itself, or what takes its place if it is a block or a layer.

    Raises:
        ValueError: if there is no such engine, or no such type of weights for it.

    Example:
        >>> backbone = MicroNet('m0').eval()
        >>> x = torch.rand(1, 3, 64, 64)
        >>> before = backbone(x)[-1]
        >>> torch.allclose(switch_to_deploy(backbone)(x)[-1], before, atol=1e-5)
        True
    """
    check_engine(engine, weights)
    form = in_deploy_form(model)
    if engine == 'native':
        from micronet_mm.deploy.plan.engine import run_natively
        for part in native_parts(form):
            run_natively(part, weights)
    return form


def check_engine(engine: str, weights: str) -> None:
    """Raise ValueError if there is no such engine, or no such type of weights for it."""
    if engine not in ENGINES:
        raise ValueError(f'engine={shown(engine)} must be one of {ENGINES}.')
    if weights not in WEIGHTS_OF[engine]:
        raise ValueError(f'weights={shown(weights)} of engine={shown(engine)} must be one of {WEIGHTS_OF[engine]}.')


def native_parts(model: nn.Module) -> list[nn.Module]:
    """What a plan is made of: backbone, neck and heads of a model of MMLab, or else the model as a whole."""
    parts = [getattr(model, name, None) for name in ('backbone', 'neck', 'rpn_head', 'head', 'bbox_head')]
    return [part for part in parts if isinstance(part, nn.Module)] if isinstance(model, BaseModel) else [model]


@torch.no_grad()
def in_deploy_form(model: nn.Module) -> nn.Module:
    model.eval()
    kind = computes(model)
    if issubclass(kind, MicroNet) and not any(map(has_hooks, model.stages)):
        deploy_backbone(model)
    elif issubclass(kind, MicroNetClassifier):
        deploy_classifier(model)
    elif issubclass(kind, (Chain, ShiftMax)):
        return deployed(model)[0]
    elif isinstance(model, (Chain, ShiftMax, MicroNetClassifier)):
        pass  # it computes something else, with its layers as they are
    elif issubclass(kind, ConvModule):
        fold_conv_module(model)
    else:
        # Whole models of mmpose only ask their layers, in words of their own.
        if hasattr(model, 'switch_to_deploy') and not isinstance(model, (Deployable, BaseModel)):
            model.switch_to_deploy()
        for name, child in list(model._modules.items()):  # named_children would name one of two places
            if child is not None:
                setattr(model, name, in_deploy_form(child))
    return model


def deploy_backbone(backbone: MicroNet) -> None:
    """Through all blocks: the order in which one leaves its output is taken up by the next."""
    is_output = -1 in backbone.out_indices  # of networks in timm's manner
    backbone.stem, order = deployed(backbone.stem, as_natural=is_output)
    for index, blocks in enumerate(backbone.stages):
        for i, block in enumerate(blocks):
            is_output = i == len(blocks) - 1 and index in backbone.out_indices
            blocks[i], order = deployed(block, order, as_natural=is_output)


def deploy_classifier(classifier: MicroNetClassifier) -> None:
    for fc, bn in (('fc1', 'bn1'), ('fc2', 'bn2')):  # networks without classes have the first alone
        linear, norm = getattr(classifier, fc, None), getattr(classifier, bn, None)
        if computes(linear) is nn.Linear and folds(norm):
            setattr(classifier, fc, Affine(*folded(linear, norm)))
            setattr(classifier, bn, nn.Identity())


def fold_conv_module(module: ConvModule) -> None:
    if (module.with_norm and folds(module.norm) and module.order[:2] == ('conv', 'norm') and is_plain(module.conv)
            and getattr(module, 'efficient_conv_bn_eval_forward', None) is None):
        weight, bias = folded(module.conv, module.norm)
        module.conv = copy(module.conv)  # heads share convolutions between levels that have a BN each
        module.conv._parameters = dict(weight=nn.Parameter(weight), bias=nn.Parameter(bias))
        setattr(module, module.norm_name, nn.Identity())


def natural(channels: int) -> Order:
    return torch.arange(channels)


def input_channels(layer: nn.Module) -> Optional[int]:
    """Of a block or a chain of layers; None if none of these tells."""
    first = next((each for each in layer.modules() if isinstance(each, (nn.Conv2d, ShiftMax))), None)
    return first.channels if isinstance(first, ShiftMax) else first and first.in_channels


def deployed(layer: nn.Module, order: Optional[Order] = None,
             as_natural: bool = True) -> tuple[nn.Module, Optional[Order]]:
    """A layer, a block or a chain of them in deploy form.

    Args:
        layer: what it is made of.
        order: of its input; None for the natural one of any number of channels.
        as_natural: whether the output shall be in natural order.

    Returns:
        The deploy form, and the order of its output.
    """
    steps = Steps(natural(input_channels(layer)) if order is None and input_channels(layer) else order)
    steps.take(layer)
    if as_natural:
        steps.put_in(None)
    device = next((parameter.device for parameter in layer.parameters()), torch.device('cpu'))
    form = steps.layers[0] if len(steps.layers) == 1 else DeployBlock(steps.layers)
    return form.to(device), steps.order  # orders are made on the CPU


class Steps:
    """The layers so far, and the order in which they leave the channels; None is the natural one of any number."""

    def __init__(self, order: Optional[Order] = None) -> None:
        self.layers: list[nn.Module] = []
        self.order = order

    def take(self, layer: nn.Module) -> None:
        """Append a layer in deploy form, or as it is if it is not known what it computes."""
        kind = computes(layer)
        if issubclass(kind, ConvNorm) and len(layer) <= 2 and is_plain(layer[0]):
            self.take_conv(*layer)
        elif issubclass(kind, MicroStem) and is_folding_stem(layer):
            vertical, horizontal, *rest = layer
            self.layers.append(DeployStem(folded(*vertical), folded(*horizontal)))
            self.order = natural(horizontal[0].out_channels)
            for part in rest:
                self.take(part)
        elif issubclass(kind, Chain) and layer.shortcut:
            branch = Steps(self.order)
            for part in layer:
                branch.take(part)
            branch.put_in(self.order)  # that of what is added
            self.layers.append(DeployBlock(branch.layers, shortcut=True))
        elif issubclass(kind, Chain):
            for part in layer:
                self.take(part)
        elif issubclass(kind, Activation):
            self.layers.append(nn.ReLU6() if layer.kind == 'relu6' else nn.ReLU())
        elif issubclass(kind, (ChannelShuffle, ChannelRoll)) and self.order is not None:
            numbers = natural(len(self.order)).view(1, -1)
            self.order = self.order[layer(numbers)[0]]
        elif is_known_shift_max(layer):
            self.layers.append(DeployShiftMax(layer, self.order_of(layer.channels)))
        else:
            self.put_in(None)
            self.layers.append(layer)
            self.order = None

    def order_of(self, channels: int) -> Order:
        """The order of so many channels."""
        if self.order is None:
            self.order = natural(channels)
        return self.order

    def put_in(self, order: Optional[Order]) -> None:
        """Put the channels in this order, if they are not."""
        if self.order is None and order is not None:
            self.order = natural(len(order))
        elif order is None and self.order is not None:
            order = natural(len(self.order))
        if order is not None and not torch.equal(order, self.order):
            index = torch.empty_like(order)
            index[order] = self.order
            self.layers.append(Permutation(index))
            self.order = order

    def take_conv(self, conv: nn.Conv2d, norm: Optional[nn.Module] = None) -> None:
        if norm is not None and folds(norm):
            weight, bias = folded(conv, norm)
            norm = None
        else:
            weight, bias = conv.weight, conv.bias
        if not keeps_groups(self.order_of(conv.in_channels), conv.groups):
            self.put_in(None)
        if 1 < conv.groups == conv.in_channels:
            self.take_depthwise(conv, weight, bias)
        else:
            self.take_groups(conv, weight, bias)
        if norm is not None:
            self.put_in(None)
            self.layers.append(norm)

    def take_depthwise(self, conv: nn.Conv2d, weight: Tensor, bias: Optional[Tensor]) -> None:
        """In any order. Several filters of a channel are several convolutions, which runtimes have code for."""
        back = torch.argsort(self.order)
        filters = conv.out_channels // conv.in_channels
        convs = [conv_like(conv, weight[f::filters][back], None if bias is None else bias[f::filters][back])
                 for f in range(filters)]
        self.layers.append(convs[0] if filters == 1 else Filters(convs))
        self.order = (self.order[:, None] + torch.arange(filters) * conv.in_channels).flatten()

    def take_groups(self, conv: nn.Conv2d, weight: Tensor, bias: Optional[Tensor]) -> None:
        """With the groups where they are, in whatever order the channels of each are."""
        width, filters = conv.in_channels // conv.groups, conv.out_channels // conv.groups
        place = self.order.view(conv.groups, width)[:, 0] // width  # group g lies where group place[g] would
        outputs = (place[:, None] * filters + torch.arange(filters)).flatten()
        inputs = (self.order.view(conv.groups, width) % width).repeat_interleave(filters, 0)
        moved = torch.empty_like(weight)
        moved[outputs[:, None], inputs] = weight
        back = torch.argsort(outputs)
        self.layers.append(conv_like(conv, moved, None if bias is None else bias[back]))
        self.order = outputs


def is_folding_stem(stem: MicroStem) -> bool:
    """Whether the first two layers of a stem are plain convolutions with BN."""
    return len(stem) >= 2 and all(
        issubclass(computes(part), ConvNorm) and len(part) == 2 and is_plain(part[0]) and part[0].bias is None
        and folds(part[1]) for part in (stem[0], stem[1]))


def is_known_shift_max(layer: nn.Module) -> bool:
    """Whether this is Shift-Max with the layers that it came with."""
    if not issubclass(computes(layer), (DynamicShiftMax, StaticShiftMax)):
        return False
    linear = [layer.fc1, layer.fc2] if isinstance(layer, DynamicShiftMax) else []
    attention = layer.attention
    return all(computes(each) is nn.Linear for each in linear) and (attention is None or (
        issubclass(computes(attention), SpatialAttention) and is_plain(attention.conv)))


def keeps_groups(order: Order, groups: int) -> bool:
    """Whether the channels of each group lie together, where those of some group would."""
    places = order.view(groups, -1) // (len(order) // groups)
    return bool((places == places[:, :1]).all())


def conv_like(conv: nn.Conv2d, weight: Tensor, bias: Optional[Tensor]) -> nn.Conv2d:
    """A convolution of other weights."""
    other = nn.Conv2d(conv.in_channels, len(weight), conv.kernel_size, conv.stride, conv.padding, conv.dilation,
                      conv.groups, bias is not None, conv.padding_mode, device='meta')
    other.weight = nn.Parameter(weight)
    if bias is not None:
        other.bias = nn.Parameter(bias)
    return other
