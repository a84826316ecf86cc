"""Whether a checkpoint belongs to a model."""
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from micronet_mm.models.micronet import MicroNet, share_that_fits
from micronet_mm.validation import FILE, checked, instance, optional

from .bundled import is_bundled
from .reading import require_file

MODEL = instance(nn.Module, 'a module')


@checked(model=MODEL, path=FILE)
def check_fits(model: nn.Module, path: Union[str, Path]) -> None:
    """Raise unless the checkpoint holds every tensor of ``model`` in its shape.

    MMEngine loads what fits and logs the rest, so that a checkpoint of another network is evaluated as noise.

    Raises:
        ValueError: one line that names the first misfits.
        CheckpointError: if the file cannot be read.
    """
    stored = read_tensors(path)
    with suppress(RuntimeError, ValueError):  # what loading renames fits too: mmpose does so with older checkpoints
        if not deepcopy(model).load_state_dict(stored, strict=False).missing_keys:
            return
    misfits = []
    for name, tensor in model.state_dict().items():
        found = stored.get(name)
        if found is None:
            misfits.append(f'{name} (missing)')
        elif found.shape != tensor.shape:
            misfits.append(f'{name} (shape {tuple(found.shape)}, expected {tuple(tensor.shape)})')
    if misfits:
        more = f'; and {len(misfits) - 3} more' if len(misfits) > 3 else ''
        raise ValueError(f'{path} does not fit the model of the config: {"; ".join(misfits[:3])}{more}. '
                         'Give the config that the checkpoint was trained with.')


@checked(model=MODEL, load_from=optional(FILE))
def check_initial_weights(model: nn.Module, load_from: Optional[str] = None) -> None:
    """Raise if weights that training is to start from would not arrive: those of ``init_cfg``, and ``load_from``.

    Parts may be new, as a head for other classes is, but nothing that weights were given for may stay as it is. Remote
    files are left to MMEngine.

    Args:
        model: as it is built, before its weights are initialized.
        load_from: checkpoint of a whole model, or of some parts of it.

    Raises:
        ValueError: one line that says what the file holds and what to do.
        CheckpointError: if a file cannot be read.
    """
    for name, module in model.named_modules():
        for cfg in pretrained(module):
            check_part(module, within(read_tensors(cfg['checkpoint']), cfg.get('prefix') or ''), cfg, name)
    if load_from and not is_remote(load_from):
        stored = read_tensors(load_from)
        for name, module in model.named_modules():
            if isinstance(module, MicroNet) and within(stored, name):
                blame(load_from, module.check_weights, within(stored, name))
        if not share_that_fits(model.state_dict(), stored):
            raise ValueError(f'{load_from}, which load_from names, holds no tensor of this model, but such as '
                             f'{next(iter(stored), "none at all")}; give a checkpoint of this model.')


def check_part(module: nn.Module, tensors: Mapping[str, Tensor], cfg: Mapping[str, Any], name: str) -> None:
    """Raise unless ``tensors``, which ``init_cfg`` chose, are weights of the module."""
    path, prefix = cfg['checkpoint'], cfg.get('prefix')
    if isinstance(module, MicroNet) and (tensors or not prefix):
        blame(path, module.check_weights, tensors)
    elif not share_that_fits(module.state_dict(), tensors):
        below = f' below prefix={prefix!r}' if prefix else ''
        raise ValueError(f'{path}, which init_cfg of {name or "the model"} names, holds no tensor of it{below}, but '
                         f'such as {next(iter(read_tensors(path)), "none at all")}; correct the file or the prefix.')


def blame(path: str, check: Any, tensors: Mapping[str, Tensor]) -> None:
    """Run a check, and name the file in its error."""
    try:
        check(tensors)
    except ValueError as error:
        raise ValueError(f'{path} does not fit: {error}') from None


def pretrained(module: nn.Module) -> Iterator[Mapping[str, Any]]:
    """The entries of a module's ``init_cfg`` that name local files or bundled weights."""
    found = getattr(module, 'init_cfg', None) or []
    for cfg in found if isinstance(found, (list, tuple)) else [found]:
        if cfg.get('type') == 'Pretrained' and not is_remote(cfg['checkpoint']):
            yield cfg


def is_remote(path: str) -> bool:
    return '://' in path and not is_bundled(path)


def within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix`` and a dot, by the rest of their names."""
    prefix = f'{prefix.rstrip(".")}.' if prefix else ''
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def read_tensors(path: Union[str, Path]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by the names that MMEngine gives them."""
    if '://' not in str(path):
        require_file(path)
    content = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    stored = content.get('state_dict', content) if isinstance(content, Mapping) else {}
    return {name: value for name, value in stored.items() if isinstance(value, Tensor)}
