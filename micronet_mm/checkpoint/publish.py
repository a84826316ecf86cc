"""Training checkpoints as files to give away: weights alone, named by their content."""
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional, Union

from micronet_mm.validation import BOOL, FILE, checked, optional

from .atomic import make_folder
from .reading import read_checkpoint
from .weights import check_format, choose_weights, sha256_of, write_weights

# What others need to use the weights. The rest tells of the machine and the run: paths, seeds, logs, the config.
KEPT = ('arch', 'source', 'num_classes', 'dataset_meta', 'CLASSES', 'PALETTE', 'epoch', 'iter')


class Published(NamedTuple):
    """A file that was published.

    Attributes:
        path: of the file.
        sha256: of its content, in hexadecimal.
        kind: which weights these are, in words.
        number: of its tensors.
    """
    path: Path
    sha256: str
    kind: str
    number: int


@checked(source=FILE, target=FILE, averaged=optional(BOOL))
def publish_checkpoint(source: Union[str, Path], target: Union[str, Path],
                       averaged: Optional[bool] = None) -> Published:
    """Write the weights of a checkpoint as ``NAME-<first 8 of SHA-256>`` with the ending of ``target``.

    Args:
        source: checkpoint of MMEngine or timm.
        target: ``folder/NAME.pth`` or ``folder/NAME.safetensors``.
        averaged: whether to take averaged weights (EMA); by default where there are any.

    Raises:
        FileNotFoundError: if ``source`` does not exist.
        CheckpointError: if it cannot be read.
        ValueError: if it holds no such weights, or the file to be written is there with other content.
    """
    target = Path(target)
    check_format(target)
    content = read_checkpoint(source)
    try:
        weights = choose_weights(content, averaged)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None
    meta = content.get('meta')
    kept = {name: meta[name] for name in KEPT if name in meta} if isinstance(meta, dict) else {}
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix='.publish-') as folder:
        written = Path(folder) / target.name  # its name follows from what is in it
        tensors = {name: value.detach().cpu().clone() for name, value in weights.tensors.items()}
        sha256 = write_weights(tensors, kept, written)
        path = target.with_name(f'{target.stem}-{sha256[:8]}{target.suffix}')
        if not path.exists():
            written.replace(path)
        elif not path.is_file() or sha256_of(path) != sha256:
            raise ValueError(f'{path} is there with other content; move it away, or give another name.')
    return Published(path, sha256, weights.kind, len(weights.tensors))
