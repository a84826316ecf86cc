"""Weights from a file, for a network in timm's manner."""
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Union

from mmengine.logging import print_log
from torch import Tensor

from micronet_mm.checkpoint import read_weights, released_as_ours
from micronet_mm.checkpoint.compatibility import blame

from .network import TimmMicroNet

BACKBONE, HEAD = 'backbone.', 'head.classifier.'


def load_pretrained(model: TimmMicroNet, path: Union[str, Path]) -> None:
    """Load the weights of any checkpoint that this package reads, into the backbone and, where they fit, the head.

    A head of another number of classes keeps its first linear layer; what is left as it was is logged.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read.
        ValueError: if it is not of this network; one line.
    """
    tensors = read_weights(path)
    blame(str(path), lambda stored: load_fitting(model, stored), tensors)


def load_fitting(model: TimmMicroNet, tensors: Mapping[str, Tensor]) -> None:
    """Load all of the backbone and what fits of the head.

    Raises:
        ValueError: if a tensor of the backbone is missing or has another shape.
    """
    own, fitting = model.state_dict(), fitting_tensors(tensors, model)
    stem = f'{BACKBONE}stem.vertical.conv.weight'
    if stem in fitting and fitting[stem].shape[1] != model.in_chans:
        raise ValueError(f'its weights are for images of {fitting[stem].shape[1]} channels, not of in_chans='
                         f'{model.in_chans}.')
    model.backbone.check_weights({name.removeprefix(BACKBONE): value for name, value in fitting.items()
                                  if name.startswith(BACKBONE)} or dict(tensors))
    misfits = [name for name, value in own.items() if name.startswith(BACKBONE)
               and getattr(fitting.get(name), 'shape', None) != value.shape]
    if misfits:
        more = f' and {len(misfits) - 1} more' if len(misfits) > 1 else ''
        raise ValueError(f'{misfits[0]}{more} of this network is missing there or has another shape; leave out '
                         'settings that the weights were not trained with.')
    missing = model.load_state_dict(fitting, strict=False).missing_keys
    if missing:
        print_log(f'{len(missing)} tensors of the head, such as {missing[0]}, were not in the file for this number of '
                  'classes and are new', 'current', logging.INFO)


def fitting_tensors(tensors: Mapping[str, Tensor], model: TimmMicroNet) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the names of ``model``: its backbone, and of its head what has the same shape.

    The released names, a backbone by itself, and a backbone within a detector are all understood; it serves timm as
    ``pretrained_filter_fn`` too.
    """
    tensors = released_as_ours(tensors)
    first = 'stem.vertical.conv.weight'
    prefix = next((name.removesuffix(first) for name in tensors if name.endswith(first)), BACKBONE)
    own = model.state_dict()
    found = {}
    for name, value in tensors.items():
        if name.startswith(HEAD):
            if name in own and own[name].shape == value.shape:
                found[name] = value
        elif name.startswith(prefix) and BACKBONE + name.removeprefix(prefix) in own:
            found[BACKBONE + name.removeprefix(prefix)] = value
    return found
