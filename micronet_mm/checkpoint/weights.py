"""The weights of a checkpoint of any kind, and files of weights alone."""
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

from torch import Tensor

from .atomic import save_atomically
from .safe_globals import without_wrappers
from .safetensors_file import write_safetensors

FORMATS = ('.pth', '.safetensors')
MODULE = 'module.'


class Weights(NamedTuple):
    """Weights of a checkpoint.

    Attributes:
        tensors: by name, without what DDP and torch.compile put in front.
        kind: which these are, in words.
    """
    tensors: dict[str, Tensor]
    kind: str


def choose_weights(content: Any, averaged: Optional[bool] = None) -> Weights:
    """One of the sets of weights in a checkpoint.

    MMEngine's EMAHook stores the averaged weights as ``state_dict`` and those that are trained as ``ema_state_dict``;
    timm stores the trained ones as ``state_dict`` and the averaged ones as ``state_dict_ema``.

    Args:
        content: what ``read_checkpoint`` gives.
        averaged: whether to take averaged weights; by default where there are any.

    Raises:
        ValueError: if there are no such weights.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f'it holds no weights, but a {type(content).__name__}.')
    found = content.get('state_dict', content)
    mmengine, timm = content.get('ema_state_dict'), content.get('state_dict_ema')
    if averaged and not (mmengine or timm):
        raise ValueError('it holds no averaged weights beside those that were trained; leave the choice out.')
    kind = 'the weights'
    if mmengine or timm:
        kind = 'the trained weights, not averaged' if averaged is False else 'the averaged weights (EMA)'
    if mmengine and averaged is False:
        # What the average does not follow, as statistics may be, is the same in both.
        trained = {name.removeprefix(MODULE): value for name, value in mmengine.items() if name.startswith(MODULE)}
        found = {**found, **trained}
    elif timm and averaged is not False:
        found = timm
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError("it holds no weights: expected tensors by name, at the top or under 'state_dict'.")
    return Weights(without_wrappers(dict(found)), kind)


def check_format(path: Union[str, Path]) -> None:
    """Raise ValueError unless files of weights can have this name."""
    if Path(path).suffix not in FORMATS:
        raise ValueError(f'{path} is to hold weights, so its name ends in {" or ".join(FORMATS)}.')


def write_weights(state_dict: Mapping[str, Tensor], meta: Mapping[str, Any], path: Union[str, Path]) -> str:
    """Write weights in the format that the file's name asks for; it appears when it is whole.

    Returns:
        The SHA-256 of the file in hexadecimal.

    Raises:
        ValueError: if the name ends in neither ``.pth`` nor ``.safetensors``.
    """
    check_format(path)
    if Path(path).suffix == '.safetensors':
        write_safetensors(state_dict, meta, path)
    else:
        save_atomically(dict(meta=dict(meta), state_dict=dict(state_dict)), path)
    return sha256_of(path)


def sha256_of(path: Union[str, Path]) -> str:
    """The SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
