"""The weights of any checkpoint, and files that only contain weights."""
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
        tensors: tensors by name, without the prefixes of DDP and torch.compile.
        kind: description, such as 'the averaged weights (EMA)'.
    """
    tensors: dict[str, Tensor]
    kind: str


def choose_weights(content: Any, averaged: Optional[bool] = None) -> Weights:
    """Choose the averaged or the trained weights of a checkpoint.

    MMEngine's EMAHook stores averaged weights as ``state_dict`` and trained weights as ``ema_state_dict``. timm stores
    trained weights as ``state_dict`` and averaged weights as ``state_dict_ema``.

    Args:
        content: result of ``read_checkpoint``.
        averaged: whether to take averaged weights; by default if there are any.

    Raises:
        ValueError: if the checkpoint has no such weights.
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
    """Raise ValueError unless the file name has the suffix of a weights format."""
    if Path(path).suffix not in FORMATS:
        raise ValueError(f'Weights are written to {" or ".join(FORMATS)} files; got {path}.')


def write_weights(state_dict: Mapping[str, Tensor], meta: Mapping[str, Any], path: Union[str, Path]) -> str:
    """Write weights atomically, in the format of the file's suffix.

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
