"""Checkpoints in safetensors, a format of tensors and strings without executable code."""
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Union

import torch
from torch import Tensor

from .atomic import written_atomically
from .errors import BrokenCheckpointError, CheckpointError
from .plain_json import from_json, to_json

META = 'meta'


def library() -> ModuleType:
    """The package ``safetensors``; raises CheckpointError, which says what to install, where it is missing."""
    try:
        importlib.import_module('safetensors.torch')
        return importlib.import_module('safetensors')
    except ModuleNotFoundError as error:
        if error.name and error.name.partition('.')[0] != 'safetensors':
            raise
        raise CheckpointError("files that end in .safetensors need the package of that name, which is not installed: "
                              "pip install safetensors.") from None


def read_safetensors(path: Union[str, Path], map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint as MMEngine's dict of ``state_dict`` and ``meta``.

    Args:
        path: path of a local file.
        map_location: a device; other values of ``torch.load`` leave the tensors on the CPU.

    Raises:
        BrokenCheckpointError: if the file is truncated, or not of this format.
        CheckpointError: if it cannot be read, or safetensors is not installed.
    """
    safetensors = library()
    device = str(map_location) if isinstance(map_location, (str, torch.device)) else 'cpu'
    try:
        with safetensors.safe_open(path, 'pt', device=device) as file:
            meta = from_json((file.metadata() or {}).get(META, '{}'))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except PermissionError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise BrokenCheckpointError(f'{path} is broken and cannot be read as safetensors: {reason}') from None
    return dict(state_dict=tensors, meta=meta if isinstance(meta, dict) else {})


def write_safetensors(state_dict: Mapping[str, Tensor], meta: Mapping[str, Any], path: Union[str, Path]) -> None:
    """Write a checkpoint; the same content gives the same bytes.

    Raises:
        ValueError: if ``meta`` holds what has no place in a text.
        CheckpointError: if safetensors is not installed.
    """
    save = library().torch.save
    try:
        text = to_json(meta)
    except TypeError as error:
        raise ValueError(f'{path}: safetensors stores only strings beside tensors, and the metadata of this checkpoint '
                         f'has other types ({error}); write a .pth.') from None
    tensors = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format)  # of their own memory
               for name, value in state_dict.items()}
    content = save(tensors, {META: text})
    with written_atomically(path) as file:
        file.write(content)
