"""Whether what was exported computes what PyTorch does."""
from collections.abc import Callable, Iterator, Sequence

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
    boxes, whatever their order, and of keypoints one in :data:`RARELY` may be another one.

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
        if 'boxes' in decoded:
            found = [boxes_apart(*(dict(zip(model.output_names, each)) for each in (ours, theirs)))]
        else:
            found = rows_apart(who, model.output_names, ours, theirs, image, bool(decoded))
        for rows in found:
            if len(rows):
                far = float(rows.sort().values[-1 - len(rows) // RARELY])
                if not far <= tolerance:  # NaN differs
                    hint = (' Scores that are nearly equal, as in an untrained model, come in another order; train it '
                            'for longer, or write its maps (--raw).' if decoded else '')
                    raise ValueError(f'{who} and PyTorch differ by {far:.1e} of the largest value for an image of '
                                     f'{tuple(image.shape)}, more than {tolerance:.0e}; nothing was written.{hint}')
                worst = max(worst, far)
    return worst


def rows_apart(who: str, names: Sequence[str], ours: Sequence[Tensor], theirs: Sequence[Tensor], image: Tensor,
               by_row: bool) -> Iterator[Tensor]:
    """Of each output how far its rows, or else all of it, are apart, relative to its largest value.

    Raises:
        ValueError: if shapes differ.
    """
    for name, mine, other in zip(names, ours, theirs):
        if mine.shape != other.shape:
            raise ValueError(f'{who} gives {name} of shape {tuple(mine.shape)} and PyTorch of {tuple(other.shape)} for '
                             f'an image of {tuple(image.shape)}; nothing was written.')
        if other.numel():
            rows = (mine.double() - other.double()).abs().reshape(-1, other.shape[-1] if by_row else other.numel())
            yield rows.amax(1) / other.abs().max().clamp(min=1e-12)


def boxes_apart(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Tensor:
    """How far each box of PyTorch is from the nearest one of its label and image, and its score from that one's.

    Relative to the largest of both; infinite for a box without such a one, and for each that is too many.
    """
    apart = torch.zeros(len(theirs['labels']), len(ours['labels']), dtype=torch.double)
    for name, width in (('boxes', 4), ('scores', 1)):
        mine, other = (each[name].double().reshape(-1, width) for each in (ours, theirs))
        largest = other.abs().max().clamp(min=1e-12) if len(other) else 1
        apart = apart.maximum((other[:, None] - mine).abs().amax(2) / largest)
    for name in ('labels', 'images'):
        apart[theirs[name][:, None] != ours[name]] = torch.inf
    nearest = torch.cat([apart, torch.full((len(apart), 1), torch.inf, dtype=torch.double)], 1).amin(1)
    return torch.cat([nearest, torch.full((max(0, apart.shape[1] - len(apart)), ), torch.inf, dtype=torch.double)])
