"""Channel shuffle and channel roll, the two permutations between group convolutions."""
import numpy as np
import torch
from torch import Tensor

SHIFTS = ('grouped', 'paper')


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """View the channels as a (groups, C / groups) table and read it column by column.

    Args:
        x: (N, C, ...), C a multiple of ``groups``.
        groups: number of rows of the table.

    Returns:
        (N, C, ...).

    Example:
        >>> channel_shuffle(torch.arange(6.).view(1, 6), groups=2).tolist()
        [[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]]
    """
    if torch.jit.is_scripting():
        return x[:, torch.arange(x.shape[1], device=x.device).view(groups, -1).t().reshape(-1)]
    elif torch.onnx.is_in_onnx_export():
        return gather(x, numbers(x, groups).T)
    else:
        return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def channel_roll(x: Tensor, groups: int, steps: int = 1, shift: str = 'grouped') -> Tensor:
    """Replace every channel by its partner, ``steps`` groups ahead (the circular shift of Eq. 4).

    With the channels viewed as a (G, C / G) table, channel (p, q) becomes

    - ``'paper'``: (p + steps, q), exactly Eq. 4;
    - ``'grouped'``: (p + steps, q + steps), as in the released models. It reaches another group *and* another place
      in the group.

    Args:
        x: (N, C, ...), C a multiple of ``groups``.
        groups: G, number of rows of the table.
        steps: j in Eq. 4; 0 returns ``x``.
        shift: ``'grouped'`` or ``'paper'``.

    Returns:
        (N, C, ...).

    Example:
        >>> channel_roll(torch.arange(6.).view(1, 6), groups=2).tolist()
        [[4.0, 5.0, 3.0, 1.0, 2.0, 0.0]]
        >>> channel_roll(torch.arange(6.).view(1, 6), groups=2, shift='paper').tolist()
        [[3.0, 4.0, 5.0, 0.0, 1.0, 2.0]]
    """
    if steps == 0:
        return x
    if shift not in SHIFTS:
        raise ValueError(f'shift={shift!r} is not a shift rule; use one of {SHIFTS}.')
    across, within = -steps, -steps if shift == 'grouped' else 0
    if torch.onnx.is_in_onnx_export():
        return gather(x, np.roll(numbers(x, groups), (across, within), (0, 1)))
    table = x.unflatten(1, (groups, -1))
    return (table.roll((across, within), (1, 2)) if within else table.roll(across, 1)).flatten(1, 2)


# In ONNX a permutation is a constant index. A reshape would need the sizes of all dimensions, and about six nodes to
# compute them. A runtime may also treat a dynamic size as fixed.


def numbers(x: Tensor, groups: int) -> np.ndarray:
    """Return the channel numbers of ``x`` as a (groups, C / groups) table."""
    # While an exporter traces, a size is not a plain number.
    channels = len(x.unbind(1)) if torch.jit.is_tracing() else x.shape[1]
    return np.arange(channels).reshape(groups, -1)


def gather(x: Tensor, order: np.ndarray) -> Tensor:
    return x.index_select(1, x.new_tensor(order.ravel(), dtype=torch.long))
