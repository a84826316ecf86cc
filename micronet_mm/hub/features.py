"""Feature maps of a network in timm's manner: which there are, and a network that returns those asked for."""
from collections.abc import Sequence
from typing import Any, Optional, Union

from torch import Tensor, nn

Indices = Optional[Union[int, Sequence[int]]]


def take_indices(indices: Indices, count: int) -> list[int]:
    """Those of ``count`` feature maps that are asked for: all for None, the last n for a number n, else by index.

    Raises:
        ValueError: if there is no such feature map.

    Example:
        >>> take_indices(2, 5), take_indices((0, -1), 5)
        ([3, 4], [0, 4])
    """
    if indices is None:
        return list(range(count))
    if isinstance(indices, int):
        taken = list(range(count - indices, count)) if 0 < indices <= count else []
    else:
        taken = [index % count for index in indices if index in range(-count, count)]
    if not taken or (not isinstance(indices, int) and len(taken) < len(indices)):
        raise ValueError(f'out_indices={indices} is not possible: there are feature maps 0 to {count - 1}, for strides '
                         '2 (the stem) to 32; give some of these, or how many of the last.')
    return taken


class FeatureInfo:
    """What the feature maps of a network are, as timm tells it.

    Args:
        info: for each map a dict of num_chs (its channels), reduction (its stride) and module (its layer).
        out_indices: those that are returned.
    """

    def __init__(self, info: Sequence[dict[str, Any]], out_indices: Sequence[int]) -> None:
        self.info = list(info)
        self.out_indices = tuple(out_indices)

    def get_dicts(self) -> list[dict[str, Any]]:
        """All that is known of the maps that are returned."""
        return [self.info[index] for index in self.out_indices]

    def channels(self) -> list[int]:
        return [entry['num_chs'] for entry in self.get_dicts()]

    def reduction(self) -> list[int]:
        return [entry['reduction'] for entry in self.get_dicts()]

    def module_name(self) -> list[str]:
        return [entry['module'] for entry in self.get_dicts()]


class FeatureMaps(nn.Module):
    """A network less its head and the stages that are not needed.

    Args:
        model: a :class:`~micronet_mm.hub.network.TimmMicroNet`; it is changed.
        out_indices: which maps to return, 0 for the stem, 1 to 4 for the stages.

    Shapes: (N, in_chans, H, W) to a list of (N, C_i, ceil(H / s_i), ceil(W / s_i)), as ``feature_info`` says.
    """

    def __init__(self, model: nn.Module, out_indices: Indices = None) -> None:
        super().__init__()
        self.out_indices = model.prune_intermediate_layers(out_indices)
        self.feature_info = FeatureInfo(model.feature_info, self.out_indices)
        self.model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.model.forward_intermediates(x, self.out_indices, intermediates_only=True)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the inside of each block in the backward pass."""
        self.model.set_grad_checkpointing(enable)
