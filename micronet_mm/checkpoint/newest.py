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
        raise BrokenCheckpointError(f'{path} holds no training state, as it may be the weights alone; start from these '
                                    'with load_from.')


def newest_good_checkpoint(folder: Union[str, Path]) -> Optional[str]:
    """The newest checkpoint in a work dir that is whole; broken ones are warned about and passed over.

    MMEngine's own choice, the one named in ``last_checkpoint``, comes first, then those of the most iterations. Times
    of modification say nothing: they are lost where a folder is copied.

    Returns:
        Its path, or None if the folder holds no checkpoint at all.

    Raises:
        RefusedCheckpointError: if what may be the newest is whole and holds a type that is not allowed.
        NoGoodCheckpointError: if there are checkpoints, and all are broken.
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
                                    'resumed from: restore one from a copy, or name one from elsewhere.')
    return None


def by_age(folder: Path) -> Iterator[Path]:
    """The checkpoints of a work dir, the newest first."""
    named = folder / 'last_checkpoint'
    last = named.read_text().strip() if named.is_file() else ''
    # Of a folder that was copied or moved the path leads elsewhere, and the file lies beside.
    first = next((path for path in (folder / Path(last).name, Path(last)) if last and path.exists()), None)
    if first is not None:
        yield first
    elif last:
        print_log(f'the last checkpoint, {last}, is gone', 'current', logging.WARNING)
    others = [path for pattern in PATTERNS for path in folder.glob(pattern) if path != first]
    yield from sorted(others, key=iterations, reverse=True)


def iterations(path: Path) -> tuple[float, int]:
    """How far a run had come, by the content of its checkpoint.

    What is wrong with one is said when its turn comes: at once where types are refused, as it may be the newest; after
    all others, ordered by names, where it is broken.
    """
    try:
        return int(read_checkpoint(path, mmap=True)['meta']['iter']), 0
    except RefusedCheckpointError:
        return inf, 0
    except Exception:
        number = re.search(r'\d+', path.stem)
        return -1, int(number.group()) if number else -1
