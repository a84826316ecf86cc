"""Models by name, in the manner of timm's ``create_model``."""
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Union

from torch import nn

from micronet_mm.arguments import FLAG, INTEGER, TEXT, checked, either, optional, several, shown
from micronet_mm.models import ARCHS

from .features import FeatureMaps, Indices
from .network import TimmMicroNet
from .pretrained import load_pretrained

PREFIX = 'micronet_'


@checked(pattern=TEXT)
def list_models(pattern: str = '*') -> list[str]:
    """The names that :func:`create_model` knows, or those that a pattern such as ``'*_sharp'`` fits.

    Example:
        >>> list_models('micronet_m?')
        ['micronet_m0', 'micronet_m1', 'micronet_m2', 'micronet_m3']
    """
    return [name for name in sorted(PREFIX + arch for arch in ARCHS) if fnmatch(name, pattern)]


def default_cfg(name: str) -> dict[str, Any]:
    """What timm wants to know of a network's data and layers: that of configs/_base_/imagenet_600e.py."""
    return dict(
        url='', architecture=name, num_classes=1000, input_size=(3, 224, 224), pool_size=(7, 7), crop_pct=0.875,
        crop_mode='center', interpolation='bilinear', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
        first_conv='backbone.stem.vertical.conv', classifier='head.classifier.fc2', license='apache-2.0',
        paper_ids='arXiv:2108.05894')


def arch_of(name: str) -> str:
    """The arch of a name; raises ValueError for another one."""
    if name not in list_models():
        raise ValueError(f'there is no model {shown(name)}; there are {", ".join(list_models())}.')
    return name.removeprefix(PREFIX)


def check_pretrained(pretrained: Any) -> None:
    """Raise ValueError unless weights are asked for by their file, or none are."""
    if pretrained and not isinstance(pretrained, (str, Path)):
        raise ValueError(f'pretrained={pretrained}: no weights are shipped; give the path of a checkpoint, such as '
                         'that of the released weights.')


@checked(name=TEXT, features_only=FLAG, out_indices=optional(either(INTEGER, several(INTEGER, least=0)), 'all'))
def create_model(name: str, pretrained: Union[bool, str, Path] = False, features_only: bool = False,
                 out_indices: Indices = None, **kwargs: Any) -> nn.Module:
    """A MicroNet by name.

    Args:
        name: one of :func:`list_models`.
        pretrained: path of a checkpoint: of MMEngine or timm, as released by the authors or by PaddleClas, ``.pth``,
            ``.safetensors`` or ``.pdparams``; of a classifier, a backbone, or a model that has one.
        features_only: return feature maps, a list, in place of logits; ``feature_info`` tells what they are.
        out_indices: which feature maps, 0 for the stem of stride 2, 1 to 4 for the stages of strides 4 to 32 (all of
            them by default); negative ones count from the last, a number n stands for the last n. In MicroNet, the
            backbone for MMLab, stages count from 0.
        **kwargs: as for :class:`~micronet_mm.hub.network.TimmMicroNet`, num_classes among them.

    Returns:
        A TimmMicroNet, or FeatureMaps.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read.
        ValueError: for a name, an argument or weights that do not fit.

    Example:
        >>> import torch
        >>> create_model('micronet_m0', num_classes=10).eval()(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 10])
        >>> create_model('micronet_m0', features_only=True, out_indices=(2, 3, 4)).feature_info.channels()
        [12, 32, 384]
    """
    check_pretrained(pretrained)
    if out_indices is not None and not features_only:
        raise ValueError(f'out_indices={out_indices} names feature maps, so it needs features_only=True.')
    model = TimmMicroNet(arch_of(name), **kwargs)
    if pretrained:
        load_pretrained(model, pretrained)
    network = FeatureMaps(model, out_indices) if features_only else model
    network.pretrained_cfg = network.default_cfg = default_cfg(name)
    return network
