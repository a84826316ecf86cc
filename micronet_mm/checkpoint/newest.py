"""The checkpoint to resume from."""
import logging
from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.logging import print_log

from micronet_mm.engine.errors import NoGoodCheckpointError


def why_broken(path: Union[str, Path]) -> Optional[str]:
    """What is wrong with a checkpoint of MMEngine's, in one line; None if it can be resumed from."""
    if Path(path).is_dir():  # a sharded checkpoint, written and checked by the strategy it belongs to
        return None
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        return str(error).strip().partition('\n')[0] or type(error).__name__
    if not isinstance(content, dict) or not {'meta', 'state_dict', 'optimizer'} <= set(content):
        return 'it holds no training state'
    return None


def newest_good_checkpoint(folder: Union[str, Path]) -> Optional[str]:
    """The newest checkpoint in a work dir that is whole; broken ones are warned about and passed over.

    MMEngine's own choice, the one named in ``last_checkpoint``, comes first.

    Returns:
        Its path, or None if the folder holds no checkpoint at all.

    Raises:
        NoGoodCheckpointError: if it holds checkpoints, and all are broken.
    """
    folder = Path(folder)
    by_age = [path for pattern in ('epoch_*.pth', 'iter_*.pth', 'interrupted.pth') for path in folder.glob(pattern)]
    by_age.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    named = folder / 'last_checkpoint'
    last = [Path(named.read_text().strip())] if named.is_file() and named.read_text().strip() else []
    candidates = [path for path in last if path.exists()] + [path for path in by_age if path not in last]
    for path in last:
        if not path.exists():
            print_log(f'the last checkpoint, {path}, is gone', 'current', logging.WARNING)
    for path in candidates:
        fault = why_broken(path)
        if fault is None:
            return str(path)
        print_log(f'the checkpoint {path} is broken and passed over: {fault}', 'current', logging.WARNING)
    if candidates:
        raise NoGoodCheckpointError(f'all {len(candidates)} checkpoints in {folder} are broken, so there is nothing to '
                                    'resume from. Start anew without --resume, or name a checkpoint from elsewhere.')
    return None
