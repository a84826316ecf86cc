"""Enlargement and subsampling: what a call that makes another size of a map does."""
from typing import Any, Optional

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .recording import Call


def setting(call: Call, place: int, name: str, default: Any = None) -> Any:
    """Of a layer, or an argument of a function, which has a place and a name."""
    return getattr(call.layer, name) if call.layer else call.settings.get(place, call.settings.get(name, default))


def is_smooth(call: Call) -> bool:
    """Whether it is bilinear, between the centres of places."""
    return call.kind != 'max_pool2d' and setting(call, 3, 'mode') == 'bilinear' and not (
        setting(call, 4, 'align_corners') or (call.layer is None and setting(call, 6, 'antialias')))


def picked_places(call: Call) -> Optional[tuple[np.ndarray, np.ndarray]]:
    """The rows (H) and the columns (W) that make up the output; None if it is made of anything else.

    The call itself says so: it is made once more, for maps of the numbers of rows and of columns.
    """
    if call.kind == 'max_pool2d':
        picks = setting(call, 1, 'kernel_size') in (1, (1, 1), [1, 1])
    else:
        picks = setting(call, 3, 'mode', 'nearest') in ('nearest', 'nearest-exact')
    if not picks:
        return None
    _, height, width = call.inputs[0].shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    numbers = repeated(call, torch.stack([rows, columns])[None].float())[0].numpy().astype(np.int64)
    return numbers[0, :, 0], numbers[1, 0]


def repeated(call: Call, x: Tensor) -> Tensor:
    if call.layer is not None:
        return call.layer(x)
    function = dict(interpolate=F.interpolate, max_pool2d=F.max_pool2d)[call.kind]
    places = sorted(key for key in call.settings if isinstance(key, int))
    named = {key: value for key, value in call.settings.items() if isinstance(key, str)}
    return function(x, *(call.settings[place] for place in places), **named)
