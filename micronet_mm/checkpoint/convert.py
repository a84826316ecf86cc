"""Turn released MicroNet weights into MMEngine checkpoints."""
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Union

import torch
from torch import Tensor

from micronet_mm.models.arch import ARCHS, RELEASED
from micronet_mm.models.classifier import MicroNetClassifier
from micronet_mm.models.micronet import MicroNet
from micronet_mm.validation import FILE, Constraint, checked, one_of

from .atomic import make_folder_of, refuse_to_overwrite
from .bundled import SCHEME, bundled_weights
from .reading import read_checkpoint
from .safe_globals import RELEASED_NAME, without_wrappers
from .weights import check_format, choose_weights, write_weights

# Where the released models keep the parts of a block: layers.<index> of ours, by kind.
_CONV_BN = {'0': 'conv', '1': 'bn'}
_TWO_CONV_BN = {'0': 'vertical.conv', '1': 'vertical.bn', '2': 'horizontal.conv', '3': 'horizontal.bn'}
_SHIFT_MAX = {'0': 'fc1', '2': 'fc2'}
_LAYERS = {
    'A': {0: ('depthwise', 'conv', _TWO_CONV_BN), 1: ('act2', 'fc', _SHIFT_MAX), 4: ('compress', 'conv', _CONV_BN),
          5: ('act3', 'fc', _SHIFT_MAX)},
    'BC': {0: ('expand', 'conv', _CONV_BN), 1: ('act1', 'fc', _SHIFT_MAX), 3: ('depthwise', 'conv', _TWO_CONV_BN),
           5: ('act2', 'fc', _SHIFT_MAX), 7: ('compress', 'conv', _CONV_BN), 8: ('act3', 'fc', _SHIFT_MAX)},
    'E': {0: ('expand', 'conv', _CONV_BN), 1: ('act3', 'fc', _SHIFT_MAX)},
}
_CLASSIFIER = {'classifier.0.linear.0': 'fc1', 'classifier.0.linear.1': 'bn1',
               'classifier.2.linear.0': 'fc2', 'classifier.2.linear.1': 'bn2'}
HEAD_PREFIX = 'head.classifier.'
TENSORS = Constraint('a dict of tensors by name', lambda value: isinstance(value, Mapping) and all(
    isinstance(tensor, Tensor) for tensor in value.values()))


def released_prefixes(arch: str) -> dict[str, str]:
    """The released name of every module of ``arch`` that holds tensors, mapped to ours.

    Example:
        >>> released_prefixes('m3')['features.1.layers.4.conv.0']
        'backbone.stages.0.0.compress.conv'
    """
    table = {f'features.0.stem.0.conv.{i}': f'backbone.stem.{name}' for i, name in _TWO_CONV_BN.items()}
    stage, block = -1, 0
    for index, row in enumerate(ARCHS[arch].rows, start=1):
        stage, block = (stage + 1, 0) if row.stride == 2 else (stage, block + 1)
        layers = next(layers for kinds, layers in _LAYERS.items() if row.kind in kinds)
        for position, (ours, sequence, parts) in layers.items():
            for i, part in parts.items():
                released = f'features.{index}.layers.{position}.{sequence}.{i}'
                table[released] = f'backbone.stages.{stage}.{block}.{ours}.{part}'
    table.update({released: HEAD_PREFIX + ours for released, ours in _CLASSIFIER.items()})
    return table


@checked(arch=one_of(*RELEASED))
def key_map(arch: str) -> dict[str, str]:
    """The released name of every tensor of ``arch``, mapped to ours: a bijection."""
    return {released: ours for released, (ours, _) in _expected(arch, num_classes=1000).items()}


def _expected(arch: str, num_classes: int) -> dict[str, tuple[str, torch.Size]]:
    """Released name -> (our name, shape) for every tensor."""
    with torch.device('meta'):
        backbone = MicroNet(arch)
        classifier = MicroNetClassifier(backbone.out_channels[-1], ARCHS[arch].classifier, num_classes)
    shapes = {f'backbone.{k}': v.shape for k, v in backbone.state_dict().items()}
    shapes.update({HEAD_PREFIX + k: v.shape for k, v in classifier.state_dict().items()})
    released = {ours: theirs for theirs, ours in released_prefixes(arch).items()}
    expected = {}
    for key, shape in shapes.items():
        module, _, tensor = key.rpartition('.')
        expected[f'{released[module]}.{tensor}'] = (key, shape)
    return expected


@checked(state_dict=TENSORS)
def convert_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Rename a released state dict; every tensor must find its place.

    Args:
        state_dict: released names, with or without a leading ``module.``; any number of classes.

    Returns:
        The arch ('m0' to 'm3') and the renamed tensors, ``backbone.*`` and ``head.*``.

    Raises:
        ValueError: if the names and shapes are not those of a MicroNet; says which the first misfits are.
    """
    given = {key.removeprefix('module.'): value for key, value in state_dict.items()}
    if len(given) != len(state_dict):
        raise ValueError("it holds tensors of one name both with and without 'module.'; leave out those not meant.")
    logits = given.get('classifier.2.linear.0.weight')
    num_classes = logits.shape[0] if logits is not None and logits.ndim == 2 else 1000
    best, fewest = '', None
    for arch in RELEASED:
        expected = _expected(arch, num_classes)
        misfits = [f'{key} (unknown)' for key in given if key not in expected]
        for key, (_, shape) in expected.items():
            if key not in given:
                misfits.append(f'{key} (missing)')
            elif given[key].shape != shape:
                misfits.append(f'{key} (shape {tuple(given[key].shape)}, expected {tuple(shape)})')
        if not misfits:
            return arch, {expected[key][0]: value for key, value in given.items()}
        if fewest is None or len(misfits) < len(fewest):
            best, fewest = arch, misfits
    shown = '; '.join(fewest[:3]) + (f'; and {len(fewest) - 3} more' if len(fewest) > 3 else '')
    raise ValueError(f'these are not released MicroNet weights. The nearest network is {best}, which does not fit '
                     f'because of: {shown}.')


@checked(tensors=TENSORS)
def released_as_ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as the authors or PaddleClas released them by our names; any others as they are."""
    plain = without_wrappers(dict(tensors))
    return convert_state_dict(plain)[1] if RELEASED_NAME in plain else plain


@checked(path=FILE)
def read_weights(path: Union[str, Path]) -> dict[str, Tensor]:
    """The tensors of any checkpoint by our names, averaged ones where there are any.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read.
        ValueError: if it holds no weights.
    """
    content = read_checkpoint(path)
    try:
        return released_as_ours(choose_weights(content).tensors)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


class Converted(NamedTuple):
    """A checkpoint that was converted.

    Attributes:
        arch: that the weights are of.
        sha256: of the file that was written, in hexadecimal.
    """
    arch: str
    sha256: str


@checked(source=FILE, target=FILE)
def convert_checkpoint(source: Union[str, Path], target: Union[str, Path]) -> Converted:
    """Convert released MicroNet weights, of the authors or of PaddleClas, into an MMEngine checkpoint.

    The result serves ``init_cfg=dict(type='Pretrained', checkpoint=target, prefix='backbone.')`` and ``load_from``. It
    is written to a temporary name first, so ``target`` never holds half a file.

    Args:
        source: ``.pth`` of the authors, or ``.pdparams`` of PaddleClas.
        target: to be written, ``.pth`` or ``.safetensors``.

    Raises:
        FileNotFoundError: if ``source`` does not exist.
        CheckpointError: if it cannot be read.
        ValueError: if it is no checkpoint, or not of a MicroNet, or the target itself, or the target has another name.
    """
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise FileNotFoundError(f'{source} does not exist; give the released MicroNet checkpoint (.pth or .pdparams) '
                                'to convert.')
    refuse_to_overwrite(target, source)
    check_format(target)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # what matters about odd pickles the error says
        content = read_checkpoint(source)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    if isinstance(meta, Mapping) and meta.get('name') in bundled_weights():
        raise ValueError(f"{source} holds this package's own weights {meta['name']}, trained on {meta['dataset']}, not "
                         f"the authors'. They need no conversion: use {SCHEME}{meta['name']}.")
    try:
        arch, state_dict = convert_state_dict(choose_weights(content).tensors)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None
    make_folder_of(target)
    meta = dict(arch=arch, source=source.name, num_classes=len(state_dict[f'{HEAD_PREFIX}bn2.weight']))
    return Converted(arch, write_weights(state_dict, meta, target))
