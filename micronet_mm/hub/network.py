"""MicroNet with its classifier and the methods that timm's models have. It does not need timm."""
from inspect import signature
from typing import Any, Optional, Union

import torch
from mmengine.model import initialize
from torch import Tensor, nn

from micronet_mm.layers import ScriptableModule, SpatialAttention
from micronet_mm.models import MicroNet, MicroNetClassifier, MicroStem, get_arch
from micronet_mm.validation import COUNT, FRACTION, TEXT, check, checked, integer, shown

from .features import Indices, take_indices

# What MicroNet can be told through here; the rest of its arguments have timm's names.
SETTINGS = set(signature(MicroNet).parameters) - {'arch', 'in_channels', 'out_indices', 'init_cfg', 'with_cp'}


class Stages(ScriptableModule, MicroNet):
    """The backbone, but with the output of its last stage as a tensor: (N, C, H / 32, W / 32)."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for blocks in self.stages:
            x = blocks(x) if torch.jit.is_scripting() else self.forward_stage(blocks, x)
        return x


class PreLogits(MicroNetClassifier):
    """The classifier up to the input of its last linear layer: (N, in_channels, H, W) to (N, hidden_channels)."""

    def __init__(self, in_channels: int, hidden_channels: int) -> None:
        super().__init__(in_channels, hidden_channels, num_classes=1)
        del self.dropout, self.fc2, self.bn2

    def forward(self, x: Tensor) -> Tensor:
        return self.pre_logits(x)


class Unpooled(nn.Identity):
    """No head: the feature map as it is."""

    def pre_logits(self, x: Tensor) -> Tensor:
        return x


class Head(nn.Module):
    """What holds the classifier, so that its tensors are named as in mmpretrain's ImageClassifier.

    Shapes: (N, in_channels, H, W) to (N, num_classes); to (N, hidden_channels) without classes, and to itself without
    pooling.
    """

    def __init__(self, in_channels: int, hidden_channels: int, drop_rate: float) -> None:
        super().__init__()
        self.in_channels, self.hidden_channels, self.drop_rate = in_channels, hidden_channels, drop_rate
        self.classifier: nn.Module = Unpooled()

    def reset(self, num_classes: int, global_pool: str, like: Tensor) -> None:
        """Exchange the classifier for one of other classes, of the type and on the device of the tensor ``like``.

        Its first linear layer, where there is one, is kept.
        """
        old, sizes = self.classifier, (self.in_channels, self.hidden_channels)
        if not global_pool:
            self.classifier = Unpooled()
            return
        new = MicroNetClassifier(*sizes, num_classes, self.drop_rate) if num_classes else PreLogits(*sizes)
        initialize(new, new.init_cfg)
        if isinstance(old, MicroNetClassifier):
            new.fc1, new.bn1 = old.fc1, old.bn1
        self.classifier = new.to(like).train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(x)


class TimmMicroNet(nn.Module):
    """MicroNet for classification, with the methods of timm's models.

    Its tensors have the names that they have in mmpretrain's ImageClassifier, ``backbone.*`` and ``head.classifier.*``,
    so checkpoints of either load into the other.

    Args:
        arch: as for :class:`~micronet_mm.models.MicroNet`; ``get_arch`` must know the width of its classifier.
        num_classes: number of logits; 0 for the input of the last linear layer in their place.
        in_chans: channels of the image.
        drop_rate: probability of dropout before the last linear layer; the paper trains M0 and M1 with 0.05, M2 and M3
            with 0.1.
        drop_path_rate: must be 0, as MicroNet has no stochastic depth.
        global_pool: 'avg', or '' (without classes only) for the feature map as it is.
        settings: further arguments of MicroNet, such as output_stride, norm_cfg, J, K, width.

    Attributes:
        num_features: channels of what ``forward_features`` returns.
        head_hidden_size: width of the input of the last linear layer.
        feature_info: a dict of num_chs, reduction and module for each feature map, the first of them the stem's.

    Shapes: (N, in_chans, H, W) to (N, num_classes).

    Raises:
        ValueError: for an argument outside what is listed here.
    """

    @checked(num_classes=integer(0), in_chans=COUNT, drop_rate=FRACTION, global_pool=TEXT)
    def __init__(self, arch: str = 'm3', num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0,
                 drop_path_rate: float = 0.0, global_pool: str = 'avg', **settings: Any) -> None:
        super().__init__()
        if drop_path_rate:
            raise ValueError(f'drop_path_rate={drop_path_rate}: MicroNet has no stochastic depth; leave it out, or set '
                             'drop_rate, which is dropout before the last linear layer.')
        if unknown := sorted(set(settings) - SETTINGS):
            raise ValueError(f'{unknown[0]} is no argument of MicroNet here; besides num_classes, in_chans, drop_rate '
                             f'and global_pool there are {", ".join(sorted(SETTINGS))}.')
        check('MicroNet', MicroNet.__init__.kinds, settings)
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.backbone = Stages(arch, in_chans, **settings)
        self.num_features = self.backbone.out_channels[-1]
        self.head_hidden_size = get_arch(arch).classifier
        self.feature_info = list_feature_maps(self.backbone)
        self.head = Head(self.num_features, self.head_hidden_size, drop_rate)
        self.reset_classifier(num_classes, global_pool)

    def reset_classifier(self, num_classes: int, global_pool: Optional[str] = None) -> None:
        """Exchange the last layers for those of other classes, with new weights.

        Args:
            num_classes: number of logits; 0 for the input of the last linear layer in their place.
            global_pool: 'avg', or '' (without classes only) for the feature map as it is; by default as it was.
        """
        global_pool = self.global_pool if global_pool is None else global_pool
        if num_classes < 0 or global_pool not in ('avg', '') or (num_classes and not global_pool):
            raise ValueError(f"num_classes={num_classes}, global_pool={shown(global_pool)}: MicroNet's classifier "
                             "pools by 'avg'; '' leaves the feature map as it is, with num_classes=0.")
        self.num_classes, self.global_pool = num_classes, global_pool
        self.head.reset(num_classes, global_pool, next(self.backbone.parameters()))

    def get_classifier(self) -> nn.Module:
        """The last linear layer; the identity without classes. The logits are normalized and pass h_swish behind it."""
        return self.head.classifier.fc2 if self.num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """The output of the last stage, (N, num_features, H / 32, W / 32)."""
        return self.backbone(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The logits of a feature map, or the input of the last linear layer, (N, head_hidden_size)."""
        return self.head.classifier.pre_logits(x) if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    @torch.jit.ignore
    def forward_intermediates(self, x: Tensor, indices: Indices = None, norm: bool = False, stop_early: bool = False,
                              output_fmt: str = 'NCHW', intermediates_only: bool = False
                              ) -> Union[list[Tensor], tuple[Tensor, list[Tensor]]]:
        """The output of the last stage, and the feature maps that are asked for.

        Args:
            x: (N, in_chans, H, W).
            indices: 0 for the stem, 1 to 4 for the stages; negative ones count from the last; a number n for the last
                n; None for all.
            norm: has no meaning, as there is no norm behind the last stage.
            stop_early: leave out the stages behind the last that is asked for; only with ``intermediates_only``.
            output_fmt: must be 'NCHW'.
            intermediates_only: return the list of feature maps alone.
        """
        if output_fmt != 'NCHW':
            raise ValueError(f"output_fmt={shown(output_fmt)}: feature maps of MicroNet are 'NCHW'.")
        if stop_early and not intermediates_only:
            raise ValueError('stop_early leaves out the last stage, so it needs intermediates_only.')
        taken = take_indices(indices, len(self.feature_info))
        self.check_order_of_channels(taken)
        x = self.backbone.stem(x)
        maps = [x] if 0 in taken else []
        stages = self.backbone.stages[:max(taken)] if stop_early else self.backbone.stages
        for index, blocks in enumerate(stages, start=1):
            x = self.backbone.forward_stage(blocks, x)
            if index in taken:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    def check_order_of_channels(self, indices: list[int]) -> None:
        """In deploy form channels are in order only in maps that were outputs when it was made."""
        outputs = {index + 1 for index in self.backbone.out_indices}
        if not isinstance(self.backbone.stem, MicroStem) and not outputs >= set(indices):
            raise ValueError(f'in its deploy form this network has the feature maps {sorted(outputs)}, not {indices}; '
                             'create it with features_only=True and out_indices=..., then switch.')

    @torch.jit.ignore
    def prune_intermediate_layers(self, indices: Indices = None, prune_norm: bool = False,
                                  prune_head: bool = True) -> list[int]:
        """Remove the stages behind the last feature map that is asked for, and the head; the indices that are kept."""
        taken = take_indices(indices, len(self.feature_info))
        self.backbone.out_indices = tuple(index - 1 for index in sorted(set(taken)))
        self.backbone.out_channels = tuple(self.feature_info[index]['num_chs'] for index in sorted(set(taken)))
        if prune_head or max(taken) < len(self.backbone.stages):
            self.reset_classifier(0, '')
        self.backbone.stages = self.backbone.stages[:max(taken)]
        self.num_features = self.feature_info[max(taken)]['num_chs']
        return sorted(set(taken))

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the inside of each block in the backward pass."""
        self.backbone.with_cp = enable

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Which parameters are of which layer, for learning rates by layer: the stem, then stages, or blocks."""
        return dict(stem=r'^backbone\.stem',
                    blocks=r'^backbone\.stages\.(\d+)' if coarse else r'^backbone\.stages\.(\d+)\.(\d+)')


def list_feature_maps(backbone: MicroNet) -> list[dict[str, Any]]:
    """Channels, stride and module of the stem and of each stage."""
    maps, stride = [], 2
    for name, module in (('stem', backbone.stem), *((f'stages.{i}', s) for i, s in enumerate(backbone.stages))):
        inside = {conv for layer in module.modules() if isinstance(layer, SpatialAttention) for conv in layer.modules()}
        convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d) and layer not in inside]
        if name != 'stem' and any(max(conv.stride) == 2 for conv in convs):
            stride *= 2
        maps.append(dict(num_chs=convs[-1].out_channels, reduction=stride, module=f'backbone.{name}'))
    return maps
