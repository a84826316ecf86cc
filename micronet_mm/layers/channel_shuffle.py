"""Channel shuffle and roll as layers."""
from typing import Sequence, Union

from mmengine.registry import MODELS
from torch import Tensor, nn

from micronet_mm.ops import SHIFTS, Deferred, channel_roll, channel_shuffle
from micronet_mm.validation import COUNT, checked, either, integer, one_of, sequence_of


@MODELS.register_module()
class ChannelShuffle(nn.Module):
    """Apply channel shuffles one by one; ``groups=()`` applies none.

    Args:
        groups: one or more numbers of groups, in the order of application.

    Shapes: (N, C, ...) to (N, C, ...), C a multiple of every number of groups.
    """

    @checked(groups=either(COUNT, sequence_of(COUNT, least=0)))
    def __init__(self, groups: Union[int, Sequence[int]]) -> None:
        super().__init__()
        self.groups = (groups,) if isinstance(groups, int) else tuple(groups)

    def forward(self, x: Tensor) -> Tensor:
        for groups in self.groups:
            x = channel_shuffle(x, groups)
        return x

    def deferred(self, x: Deferred) -> Deferred:
        return x.shuffled(self.groups)

    def extra_repr(self) -> str:
        return f'groups={self.groups}'


@MODELS.register_module()
class ChannelRoll(nn.Module):
    """Apply the circular channel shift of Eq. 4; arguments as in :func:`micronet_mm.ops.channel_roll`.

    Shapes: (N, C, ...) to (N, C, ...), C a multiple of ``groups``.
    """

    @checked(groups=COUNT, steps=integer(0), shift=one_of(*SHIFTS))
    def __init__(self, groups: int, steps: int = 1, shift: str = 'grouped') -> None:
        super().__init__()
        self.groups = groups
        self.steps = steps
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return channel_roll(x, self.groups, self.steps, self.shift)

    def extra_repr(self) -> str:
        return f'groups={self.groups}, steps={self.steps}, shift={self.shift!r}'
