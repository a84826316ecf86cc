"""Go on in the middle of an epoch, with the random numbers of that moment."""
import random
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np
import torch
from mmengine.dist import get_world_size
from torch.utils.data import DataLoader


def random_state() -> dict[str, Any]:
    """The states of Python's, NumPy's and PyTorch's generators, as ``weights_only=True`` can load them."""
    version, internal, gauss = random.getstate()
    name, keys, *position = np.random.get_state()
    state = dict(python=(version, list(internal), gauss), numpy=(name, keys.tolist(), *position),
                 torch=torch.get_rng_state())
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo what was drawn since :func:`random_state`."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, *position = state['numpy']
    np.random.set_state((name, np.array(keys, np.uint32), *position))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def images_per_iteration(dataloader: DataLoader) -> int:
    """How many images all processes take together; where batches have no size, as if it were one."""
    return getattr(dataloader.batch_sampler, 'batch_size', 1) * get_world_size()


class SkipFirst:
    """A batch sampler without its first batches.

    Args:
        batch_sampler: of the whole epoch.
        done: number of batches to leave out.
        state: of :func:`random_state`, restored before the first batch is loaded.
    """

    def __init__(self, batch_sampler: Any, done: int, state: Optional[dict[str, Any]] = None) -> None:
        self.batch_sampler = batch_sampler
        self.sampler = batch_sampler.sampler  # MMEngine tells it the epoch
        self.done = done
        self.state = state

    def __iter__(self) -> Iterator[Sequence[int]]:
        for index, batch in enumerate(self.batch_sampler):
            if index == self.done and self.state:
                restore_random_state(self.state)
            if index >= self.done:
                yield batch

    def __len__(self) -> int:
        return len(self.batch_sampler) - self.done


def rest_of_epoch(dataloader: DataLoader, done: int, state: Optional[dict[str, Any]] = None) -> DataLoader:
    """Return a loader for the rest of an epoch; skipped images are not loaded."""
    same = ('num_workers', 'collate_fn', 'pin_memory', 'timeout', 'worker_init_fn', 'multiprocessing_context',
            'generator', 'prefetch_factor')
    return DataLoader(dataloader.dataset, batch_sampler=SkipFirst(dataloader.batch_sampler, done, state),
                      **{name: getattr(dataloader, name) for name in same})
