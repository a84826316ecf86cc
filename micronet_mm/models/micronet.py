"""The MicroNet backbone."""
from itertools import chain
from typing import Any, Mapping, Optional, Sequence, Union

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from micronet_mm.ops import SHIFTS
from micronet_mm.validation import BOOL, COUNT, NORM, checked, either, integer, one_of, optional, sequence_of

from .arch import ARCHS, Arch, Row, get_arch
from .blocks import MicroBlockA, MicroBlockB, MicroBlockC, MicroBlockE, MicroStem
from .deployable import Deployable
from .variation import VARIATION, vary

BLOCKS = dict(A=MicroBlockA, B=MicroBlockB, C=MicroBlockC)


@MODELS.register_module()
class MicroNet(BaseModule, Deployable):
    """MicroNet (ICCV 2021), a backbone of 4 to 21 million multiply-adds at 224 x 224.

    A stage ends where the stride grows: stage 0 has stride 4 and stage 3 has stride 32, as in ResNet. Stages after the
    last of ``out_indices`` are not built.

    Args:
        arch: 'm0' to 'm3', 'm1_sharp' to 'm3_sharp' (Table 7's '#'), or your own table: an
            :class:`~micronet_mm.models.Arch` or its fields as a dict.
        in_channels: channels of the image.
        out_indices: the stages to return, out of 0, 1, 2, 3 for strides 4, 8, 16, 32.
        output_stride: 32, or 16 to run the blocks of stride 32 at stride 16 with the same weights (the keypoint
            models' choice).
        frozen_stages: -1 freezes nothing, 0 the stem, n > 0 the stem and the first n stages: no gradients, BN in eval
            mode.
        norm_cfg: normalization layer, for example ``dict(type='SyncBN')`` or ``dict(type='BN', requires_grad=False)``.
        norm_eval: keep BN in eval mode when training.
        with_cp: keep only the input of each block and recompute the rest in the backward pass.
        J: number of shifts that Dynamic Shift-Max fuses, including the unshifted input (Table 6).
        K: number of fusions of A1 and A2, which output their maximum (Table 6); A3 always has one.
        shift: 'grouped' as released, or 'paper' as in Eq. 4.
        dynamic: which of (A1, A2, A3) are Dynamic Shift-Max, in every block (Table 5). Default: as the table says.
        coefficients: coefficients of Dynamic Shift-Max: 'dynamic', or 'static' for learned constants (Table 2).
        spatial: add the spatial attention of the keypoint models to Dynamic Shift-Max.
        width: multiplier of the blocks' channels; if not 1, all groups follow Eq. 3.
        group_scale: lambda in G = lambda * sqrt(C / R), Eq. 3 (Table 3b); if not 1, all groups follow Eq. 3.
        groups: number of groups of all pointwise convolutions, or the nearest possible, instead of Eq. 3 (Table 3a).
        lite: where to use the lite combination, 'nowhere' or 'everywhere'; by default in the lower layers (Table 3c).
        last_channels: channels of the last block, independent of ``width``.
        init_cfg: as in MMEngine's BaseModule, for example
            ``dict(type='Pretrained', checkpoint='m3.pth', prefix='backbone.')``.

    Shapes:
        (N, in_channels, H, W) to a tuple of (N, C_i, ceil(H / s_i), ceil(W / s_i)) with the C_i of ``out_channels``.

    Raises:
        ValueError: for an argument outside what is listed here.

    Example:
        >>> backbone = MicroNet('m3', out_indices=(1, 2, 3))
        >>> backbone.out_channels
        (24, 80, 864)
        >>> [tuple(f.shape) for f in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 24, 8, 12), (1, 80, 4, 6), (1, 864, 2, 3)]
    """

    @checked(in_channels=COUNT, out_indices=either(integer(0), sequence_of(integer(0))), output_stride=one_of(16, 32),
             frozen_stages=integer(-1), norm_cfg=NORM, norm_eval=BOOL, with_cp=BOOL, J=COUNT, K=COUNT,
             shift=one_of(*SHIFTS), dynamic=optional(sequence_of(BOOL, 3), 'the values of the table'),
             coefficients=one_of('dynamic', 'static'), spatial=BOOL, **VARIATION)
    def __init__(self,
                 arch: Union[str, Arch, Mapping[str, Any]] = 'm3',
                 in_channels: int = 3,
                 out_indices: Union[int, Sequence[int]] = (3, ),
                 output_stride: int = 32,
                 frozen_stages: int = -1,
                 norm_cfg: dict = dict(type='BN'),
                 norm_eval: bool = False,
                 with_cp: bool = False,
                 J: int = 2,
                 K: int = 2,
                 shift: str = 'grouped',
                 dynamic: Optional[Sequence[bool]] = None,
                 coefficients: str = 'dynamic',
                 spatial: bool = False,
                 width: float = 1.0,
                 group_scale: float = 1.0,
                 groups: Optional[int] = None,
                 lite: Optional[str] = None,
                 last_channels: Optional[int] = None,
                 init_cfg: Optional[Union[dict, list]] = None) -> None:
        super().__init__(init_cfg)
        table = get_arch(arch)
        variation = width, group_scale, groups, lite, last_channels
        if variation != (1, 1, None, None, None):
            table = vary(table, *variation)
        stages = split_into_stages(table.rows)
        out_indices = (out_indices, ) if isinstance(out_indices, int) else tuple(out_indices)
        if not all(i in range(len(stages)) for i in out_indices):
            raise ValueError(f'out_indices={out_indices} must name one or more of the stages 0 to {len(stages) - 1}.')
        if frozen_stages not in range(-1, len(stages) + 1):
            raise ValueError(f'frozen_stages={frozen_stages} must be -1 (none) to {len(stages)} (all).')
        self.out_indices = out_indices
        self.out_channels = tuple(stages[i][-1].channels for i in sorted(set(out_indices)))
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        shift_max = dict(J=J, K=K, shift=shift, init=table.init, coefficients=coefficients, spatial=spatial)
        self.stem = MicroStem(in_channels, table.stem, norm_cfg)
        self.stem.is_init = True  # all layers initialize themselves when built, so that init_cfg has the last word
        self.stages = nn.ModuleList()
        channels = table.stem[0] * table.stem[1]
        for index, rows in enumerate(stages[:max(out_indices) + 1]):
            blocks = nn.Sequential()
            for row in rows:
                stride = 1 if 4 * 2**index > output_stride else row.stride
                blocks.append(build_block(row, channels, stride, dynamic, shift_max, norm_cfg))
                channels = row.channels
            self.stages.append(blocks)
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        outs = []
        for index, blocks in enumerate(self.stages):
            x = self.forward_stage(blocks, x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def forward_stage(self, blocks: nn.Sequential, x: Tensor) -> Tensor:
        """The output of one of the stages for its input."""
        if not (self.with_cp and self.training):
            return blocks(x)
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return x

    def train(self, mode: bool = True) -> 'MicroNet':
        """Training mode, but with frozen stages, and BN if ``norm_eval``, left in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def check_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise unless these are weights of this network, or some of them, or of one that differs in a few layers.

        MMEngine loads what fits and logs the rest, so that others would leave the network as it is.

        Args:
            tensors: by name, as in ``state_dict()``.

        Raises:
            ValueError: one line that names the network of the weights and what to do.
        """
        own = dict(chain(self.named_parameters(), self.named_buffers()))
        if share_that_fits(own, tensors) > 0.9:
            return
        (arch, prefix), (own_arch, _) = find_weights(tensors), find_weights(own)
        wanted = f'arch={own_arch!r}' if own_arch else 'its own table or settings'
        if not arch:
            raise ValueError(f'these are not weights of this MicroNet ({wanted}): names and shapes are others, such as '
                             f'{next(iter(tensors))}.')
        if arch == own_arch and prefix:
            raise ValueError(f'the weights of this MicroNet are there by names that begin with {prefix!r}: add '
                             f'prefix={prefix!r} to init_cfg, or load the whole model.')
        raise ValueError(f'these are weights of MicroNet with arch={arch!r}, but this network has {wanted}: give the '
                         'file that belongs to it, or the other arch.')

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        tensors = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
        if tensors:
            self.check_weights(tensors)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.stem, *self.stages[:self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)


def split_into_stages(rows: Sequence[Row]) -> list[list[Row]]:
    """Split the rows into stages; each stage starts with a block of stride 2."""
    stages: list[list[Row]] = []
    for row in rows:
        if row.stride == 2:
            stages.append([])
        stages[-1].append(row)
    return stages


def build_block(row: Row, in_channels: int, stride: int, dynamic: Optional[Sequence[bool]], shift_max: dict,
                norm_cfg: dict) -> nn.Module:
    """Build the block of a row."""
    shared = dict(groups1=row.groups1, dynamic=row.dynamic if dynamic is None else dynamic, reduction=8 * row.ratio,
                  shift_max=shift_max, norm_cfg=norm_cfg)
    if row.kind == 'E':
        return MicroBlockE(in_channels, row.channels, **shared)
    return BLOCKS[row.kind](in_channels, row.channels, row.kernel, stride, row.expansion, groups2=row.groups2, **shared)


def share_that_fits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> float:
    """Return the share of tensors with equal names and shapes, relative to the smaller of the two sets."""
    own, tensors = ({name: value for name, value in named.items() if not name.endswith('num_batches_tracked')}
                    for named in (own, tensors))
    fits = sum(getattr(tensors.get(name), 'shape', None) == value.shape for name, value in own.items())
    return fits / max(1, min(len(own), len(tensors)))


def find_weights(tensors: Mapping[str, Tensor]) -> tuple[Optional[str], str]:
    """Return the arch of the MicroNet weights in ``tensors``, or None, and the prefix of their names."""
    first = 'stem.vertical.conv.weight'
    prefix = next((name.removesuffix(first) for name in tensors if name.endswith(first)), None)
    if prefix is not None:
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for arch in ARCHS:
            with torch.device('meta'):
                if share_that_fits(MicroNet(arch).state_dict(), own) > 0.9:
                    return arch, prefix
    return None, ''
