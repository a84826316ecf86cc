"""The checkpoint to resume from."""
import logging
import re
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Optional, Union

from mmengine.logging import print_log

from .errors import BrokenCheckpointError, NoGoodCheckpointError, RefusedCheckpointError
from .reading import read_checkpoint

PATTERNS = ('epoch_*.pth', 'iter_*.pth', 'interrupted.pth')


def check_resumable(path: Union[str, Path]) -> None:
    """Raise unless a checkpoint of MMEngine's can be resumed from.

    Raises:
        CheckpointError: one line that says why not.
    """
    if Path(path).is_dir():  # a sharded checkpoint is written and checked by the strategy it belongs to
        return
    content = read_checkpoint(path)
    if not isinstance(content, dict) or not {'meta', 'state_dict', 'optimizer'} <= set(content):
        raise BrokenCheckpointError(f'{path} holds no training state; if it only contains weights, start from them '
                                    'with load_from.')


def newest_good_checkpoint(folder: Union[str, Path]) -> Optional[str]:
    """Return the newest complete checkpoint of a work dir; skip broken checkpoints with a warning.

    The checkpoint named in ``last_checkpoint`` comes first, as in MMEngine. The others are sorted by iterations, not by
    modification time, which copying a folder changes.

    Returns:
        The path, or None if the folder has no checkpoint.

    Raises:
        RefusedCheckpointError: if the newest checkpoint is complete but contains a type that is not allowed.
        NoGoodCheckpointError: if all checkpoints are broken.
    """
    faults = []
    for path in by_age(Path(folder)):
        try:
            check_resumable(path)
            return str(path)
        except BrokenCheckpointError as error:
            faults.append(error)
            print_log(f'passed over: {error}', 'current', logging.WARNING)
        except FileNotFoundError:  # another job has removed it meanwhile
            print_log(f'passed over: {path} is gone', 'current', logging.WARNING)
    if faults:
        raise NoGoodCheckpointError(f'{faults[0]} It is the newest of {len(faults)} in {folder}, and none can be '
                                    'resumed from: restore a checkpoint from a copy, or name another checkpoint.')
    return None


def by_age(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints of a work dir, newest first."""
    named = folder / 'last_checkpoint'
    last = named.read_text().strip() if named.is_file() else ''
    # If the folder was copied or moved, the path is stale and the file is in this folder.
    first = next((path for path in (folder / Path(last).name, Path(last)) if last and path.exists()), None)
    if first is not None:
        yield first
    elif last:
        print_log(f'the last checkpoint, {last}, is gone', 'current', logging.WARNING)
    others = [path for pattern in PATTERNS for path in folder.glob(pattern) if path != first]
    yield from sorted(others, key=iterations, reverse=True)


def iterations(path: Path) -> tuple[float, int]:
    """Return the iterations in a checkpoint as a sort key.

    A checkpoint with refused types sorts first, because it may be the newest. Broken checkpoints sort last, by the
    number in their names.
    """
    try:
        return int(read_checkpoint(path, mmap=True)['meta']['iter']), 0
    except RefusedCheckpointError:
        return inf, 0
    except Exception:
        number = re.search(r'\d+', path.stem)
        return -1, int(number.group()) if number else -1
