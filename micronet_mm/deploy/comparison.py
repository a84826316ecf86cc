"""Whether what was exported computes what PyTorch does."""
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .functions import inputs_of

TOLERANCE = 1e-4  # of the largest value of an output
RARELY = 50


def compare_with(who: str, run: Callable[[dict[str, np.ndarray]], list[np.ndarray]], model: nn.Module,
                 images: Sequence[Tensor], tolerance: float = TOLERANCE) -> float:
    """How far another program is from PyTorch: the largest difference, relative to the largest value of its output.

    Decoding takes maxima, and suppression compares. Where two values are nearly as large, rounding decides, so that of
    boxes and keypoints one in :data:`RARELY` may be another one.

    Args:
        who: the program's name.
        run: its outputs for inputs by name.
        model: takes images (N, 3, H, W) and names its outputs in ``output_names``.
        images: each (N, 3, H, W).
        tolerance: how far it may be.

    Raises:
        ValueError: if that is more than ``tolerance``.
    """
    worst = 0.0
    for number, image in enumerate(images):
        inputs = inputs_of(model, image, padding=number % 2 * 9)
        ours = [torch.from_numpy(output) for output in run({name: value.numpy() for name, value in inputs.items()})]
        with torch.no_grad():
            theirs = model(*inputs.values())
        decoded = {'boxes', 'keypoints'} & set(model.output_names)
        for name, mine, other in zip(model.output_names, ours, theirs):
            if mine.shape != other.shape:
                raise ValueError(f'{who} gives {name} of shape {tuple(mine.shape)} and PyTorch of '
                                 f'{tuple(other.shape)} for an image of {tuple(image.shape)}; nothing was written.')
            if other.numel():
                rows = (mine.double() - other.double()).abs().reshape(-1, other.shape[-1] if decoded else other.numel())
                rows = rows.amax(1).sort().values / other.abs().max().clamp(min=1e-12)
                far = float(rows[-1 - len(rows) // RARELY])
                if not far <= tolerance:  # NaN differs
                    hint = (' Scores that are nearly equal, as in an untrained model, come in another order.'
                            if decoded else '')
                    raise ValueError(f'{who} and PyTorch differ by {far:.1e} of the largest value for an image of '
                                     f'{tuple(image.shape)}, more than {tolerance:.0e}; nothing was written.{hint}')
                worst = max(worst, far)
    return worst
