"""Channel shuffle and channel roll, the two permutations between group convolutions."""
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
    if torch.jit.is_scripting():  # four dimensions: ONNX must know how many there are
        n, c, h, w = x.shape
        table = x.reshape(n, groups, c // groups, h, w)
    else:
        table = x.unflatten(1, (groups, -1))
    return table.transpose(1, 2).flatten(1, 2)


def channel_roll(x: Tensor, groups: int, steps: int = 1, shift: str = 'grouped') -> Tensor:
    """Replace every channel by its partner, ``steps`` groups further on (the circular shift of Eq. 4).

    With the channels viewed as a (G, C / G) table, channel (p, q) becomes

    - ``'paper'``: (p + steps, q), exactly Eq. 4;
    - ``'grouped'``: (p + steps, q + steps), as the released models do. It reaches another group *and* another place
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
    table = x.unflatten(1, (groups, -1))
    if shift == 'grouped':
        table = torch.roll(table, (-steps, -steps), (1, 2))
    elif shift == 'paper':
        table = torch.roll(table, -steps, 1)
    else:
        raise ValueError(f'shift={shift!r} is not a known shift rule; use one of {SHIFTS}.')
    return table.flatten(1, 2)
