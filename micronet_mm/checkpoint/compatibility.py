"""Whether a checkpoint belongs to a model."""
from pathlib import Path
from typing import Union

import torch
from mmengine.runner import CheckpointLoader
from torch import nn


def check_fits(model: nn.Module, path: Union[str, Path]) -> None:
    """Raise unless the checkpoint holds every tensor of ``model`` in its shape.

    MMEngine loads what fits and logs the rest, so that a checkpoint of another network is evaluated as noise.

    Raises:
        ValueError: one line that names the first misfits.
        CheckpointError: if the file cannot be read.
    """
    content = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    stored = content.get('state_dict', content) if isinstance(content, dict) else {}
    misfits = []
    for name, tensor in model.state_dict().items():
        found = stored.get(name)
        if not isinstance(found, torch.Tensor):
            misfits.append(f'{name} (missing)')
        elif found.shape != tensor.shape:
            misfits.append(f'{name} (shape {tuple(found.shape)}, expected {tuple(tensor.shape)})')
    if misfits:
        more = f'; and {len(misfits) - 3} more' if len(misfits) > 3 else ''
        raise ValueError(f'{path} does not fit the model of the config: {"; ".join(misfits[:3])}{more}. '
                         'Give the config that the checkpoint was trained with.')
