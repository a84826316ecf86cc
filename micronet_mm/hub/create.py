"""Models by name, in the manner of timm's ``create_model``."""
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Union

from torch import nn

from micronet_mm.checkpoint.bundled import FOLDER, SCHEME, bundled_weights
from micronet_mm.models import ARCHS
from micronet_mm.validation import BOOL, INTEGER, TEXT, checked, either, optional, sequence_of, shown

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


@checked(pattern=TEXT)
def list_pretrained(pattern: str = '*') -> list[str]:
    """Return the names of bundled weights that match a pattern.

    Each name is an architecture and a data set, ``micronet_m0.tiny_imagenet``. :func:`create_model` takes it with
    ``pretrained=True``; configs take it as ``micronet_mm://micronet_m0.tiny_imagenet``. ``micronet-mm models`` prints
    accuracies and licenses.
    """
    return [name for name in sorted(bundled_weights()) if fnmatch(name, pattern)]


def default_cfg(name: str) -> dict[str, Any]:
    """Return timm's description of a model's data and layers.

    Without weights these are the settings of configs/_base_/imagenet_600e.py.
    """
    cfg = dict(
        url='', architecture=split_name(name)[0], num_classes=1000, input_size=(3, 224, 224), pool_size=(7, 7),
        crop_pct=0.875, crop_mode='center', interpolation='bilinear', mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225), first_conv='backbone.stem.vertical.conv', classifier='head.classifier.fc2',
        license='apache-2.0', paper_ids='arXiv:2108.05894')
    weights = bundled_weights().get(name)
    if weights:
        cfg.update(
            file=str(FOLDER / weights.file), num_classes=weights.num_classes, input_size=weights.input_size,
            pool_size=tuple(side // 32 for side in weights.input_size[1:]), crop_pct=1.0, crop_mode='squash',
            mean=tuple(round(value / 255, 4) for value in weights.mean),
            std=tuple(round(value / 255, 4) for value in weights.std), license=weights.license)
    return cfg


def split_name(name: str) -> tuple[str, str]:
    """Split 'micronet_m0.tiny_imagenet' into the model's name and the tag of weights, which may be empty.

    Raises:
        ValueError: if there is no such model or no such weights.
    """
    model, _, tag = name.partition('.')
    if model not in list_models():
        raise ValueError(f'there is no model {shown(model)}; available: {", ".join(list_models())}.')
    if tag and name not in bundled_weights():
        raise ValueError(f'there are no bundled weights {shown(name)}; available: {", ".join(list_pretrained())}.')
    return model, tag


def default_weights(name: str) -> str:
    """Return the name of a model's bundled weights; raise ValueError if there are none."""
    split_name(name)
    found = [weights for weights in list_pretrained() if weights == name or weights.startswith(f'{name}.')]
    if not found:
        raise ValueError(f'pretrained=True: {name} has no bundled weights; available: {", ".join(list_pretrained())}. '
                         'Give the path of a checkpoint instead, such as the released weights.')
    return found[0]


def check_pretrained(pretrained: Any) -> None:
    """Raise ValueError unless ``pretrained`` is a bool or the path of a checkpoint."""
    if not isinstance(pretrained, (bool, str, Path)):
        raise ValueError(f'pretrained={shown(pretrained)} must be True, False or the path of a checkpoint.')


@checked(name=TEXT, features_only=BOOL, out_indices=optional(either(INTEGER, sequence_of(INTEGER, least=0)), 'all'))
def create_model(name: str, pretrained: Union[bool, str, Path] = False, features_only: bool = False,
                 out_indices: Indices = None, **kwargs: Any) -> nn.Module:
    """Create a MicroNet by name.

    Args:
        name: one of :func:`list_models`, or of :func:`list_pretrained` for the number of classes of these weights.
        pretrained: True for bundled weights, or the path of a checkpoint: of MMEngine or timm, as released by the
            authors or by PaddleClas, ``.pth``, ``.safetensors`` or ``.pdparams``; of a classifier, a backbone, or a
            model that has one. With True, num_classes is that of the weights by default.
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
    if pretrained is True:
        name = default_weights(name)
        pretrained = SCHEME + name
    model_name, tag = split_name(name)
    if out_indices is not None and not features_only:
        raise ValueError(f'out_indices={out_indices} names feature maps, so it needs features_only=True.')
    if tag:
        kwargs.setdefault('num_classes', bundled_weights()[name].num_classes)
    model = TimmMicroNet(model_name.removeprefix(PREFIX), **kwargs)
    if pretrained:
        load_pretrained(model, pretrained)
    network = FeatureMaps(model, out_indices) if features_only else model
    network.pretrained_cfg = network.default_cfg = default_cfg(name)
    return network
