"""Read checkpoints with allowed types only; distinguish refused files from broken files."""
import os.path as osp
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Optional, Union
from zipfile import is_zipfile

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from .bundled import bundled_file, is_bundled
from .errors import BrokenCheckpointError, CheckpointError, RefusedCheckpointError
from .pdparams import read_pdparams
from .safetensors_file import read_safetensors

OTHER_FORMATS = {'.safetensors': read_safetensors, '.pdparams': read_pdparams}


def require_file(path: Union[str, Path]) -> None:
    """Raise FileNotFoundError unless there is such a file."""
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path} is a folder; name a checkpoint in it.' if osp.isdir(path)
                                else f'{path} does not exist.')


def read_checkpoint(path: Union[str, Path], map_location: Any = 'cpu', mmap: bool = False) -> Any:
    """Read a checkpoint with ``torch.load(weights_only=True)``, or with the reader of the file's suffix.

    Args:
        path: path of a local file, or ``micronet_mm://NAME`` for bundled weights.
        map_location: as for ``torch.load``.
        mmap: leave tensors on disk until they are used; files of old formats are read all the same.

    Raises:
        FileNotFoundError: if there is no such file.
        BrokenCheckpointError: if it cannot be read as an archive or a pickle.
        RefusedCheckpointError: if it holds a type that is not allowed.
        CheckpointError: if reading it is not permitted.
    """
    if is_bundled(path):
        content = read_safetensors(bundled_file(str(path)), map_location)
        # Stored in half precision to save space.
        content['state_dict'] = {name: value.float() if value.is_floating_point() else value
                                 for name, value in content['state_dict'].items()}
        return content
    require_file(path)
    if read := OTHER_FORMATS.get(Path(path).suffix):
        return read(path, map_location)
    try:
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap and is_zipfile(path))
    except PermissionError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from None
    except Exception as error:
        refused = refused_types(path, str(error)) if isinstance(error, UnpicklingError) else None
        if refused:
            raise RefusedCheckpointError(
                f'{path} is whole, but holds {refused}, which is not allowed, as unpickling it could run code (Weights '
                'only load failed). If you trust where the file comes from, allow it by its full name: '
                "safe_globals=['module.Type'] in the config, or torch.serialization.add_safe_globals.") from None
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise BrokenCheckpointError(f'{path} is broken and cannot be read as a checkpoint: {reason}') from None


def refused_types(path: Union[str, Path], message: str) -> Optional[str]:
    """Return the names of refused types in a complete file; None if the file is broken."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a zip archive; for the older format only the message names the types
        names = re.findall(r'GLOBAL ([\w.]+)', message)
        return ', '.join(names) or None
    return ', '.join(sorted(names)) or message.rpartition('error:')[2].strip().partition('\n')[0]
