"""Whether folders of images, one for each class, are what mmpretrain takes them for."""
import os
import os.path as osp
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .data import registered
from .images import OPENED, check_listed, loading_step, reads_files

# What programs leave in folders, some of it with images.
JUNK = {'__MACOSX', '@eaDir', '__pycache__', 'lost+found', '$RECYCLE.BIN', 'System Volume Information', 'Thumbs.db',
        '.ipynb_checkpoints', '.git', '.svn', '.cache', '.thumbnails', '.Trash', '.Spotlight-V100', '.fseventsd'}


def check_folders(cfg: Config, loaders: Sequence[str]) -> None:
    """Raise if two dataloaders have different class folders, because a label is the number of a folder.

    Missing or broken images raise an error in an evaluation and a warning in training.
    """
    found = {loader: (made, names) for loader in loaders for made, names in class_folders(cfg, loader)}
    for made, names in found.values():
        check_no_junk(made, names)
    for loader, (made, names) in found.items():
        first, (other, others) = next(iter(found.items()))
        if names != others:
            odd = sorted(set(names) ^ set(others))
            lower = {name.lower(): name for name in odd[1:]}
            advice = (f'rename it, or {lower[odd[0].lower()]!r}, so that both are the same.'
                      if odd[0].lower() in lower else 'make it in both, empty if need be.')
            where = (made if odd[0] in names else other).img_prefix
            raise ValueError(f'{loader} and {first} have different class folders ({len(names)} and {len(others)}): '
                             f'{odd[0]!r} is only in {where}, so labels would differ; {advice}')
    for loader in loaders:
        check_classified_images(cfg, loader)


def check_no_junk(dataset: Any, names: Sequence[str]) -> None:
    """Raise for folders that a program made and that mmpretrain would use as classes."""
    root = dataset.img_prefix
    for name in names:
        if name in JUNK or (name.startswith('.') and not has_images(osp.join(root, name), dataset.is_valid_file)):
            raise ValueError(f'{osp.join(root, name)} counts as one of the {len(names)} classes, but was made by some '
                             'program: remove it, or move it elsewhere.')
    name = osp.basename(osp.normpath(root))
    if list(names) == [name] and any(entry.is_dir() for entry in os.scandir(osp.join(root, name))):
        raise ValueError(f'{root} has one folder, {name!r}, whose folders are the classes: name {osp.join(root, name)} '
                         'as the data_prefix of the dataset.')


def has_images(folder: str, is_image: Callable[[str], bool]) -> bool:
    """Whether there is an image in a folder, or in one below it."""
    return any(map(is_image, (name for _, _, names in os.walk(folder) for name in names)))


def check_classified_images(cfg: Config, loader: str) -> None:
    """Raise for missing or broken images of an evaluation; warn of those in training."""
    evaluated = loader != 'train_dataloader'
    for made in classified(cfg, loader):
        root, listed, step = made.img_prefix, made.ann_file, loading_step(cfg[loader].dataset.get('pipeline'))
        if '://' in f'{root} {listed}' or not reads_files(step):
            continue
        if listed and osp.isfile(listed):
            lines = Path(listed).read_text().splitlines()
            names = [line.strip().rsplit(' ', 1)[0] if made.with_label else line for line in lines]
            check_listed(listed, root, names, step, evaluated)
        elif not listed and made.with_label and osp.isdir(root):
            check_listed(root, root, some_images(root, made.is_valid_file), step, evaluated)


def some_images(root: str, is_image: Callable[[str], bool]) -> list[str]:
    """A few images of every class folder, or of some where there are many."""
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    step, each = -(-len(folders) // OPENED), -(-OPENED // max(len(folders), 1))
    return [osp.join(folder, name) for folder in folders[::step or 1]
            for name in islice(filter(is_image, sorted(os.listdir(osp.join(root, folder)))), each)]


def class_folders(cfg: Config, loader: str) -> Iterator[tuple[Any, list[str]]]:
    """The dataset of a dataloader that has a folder for each class, not built in full, and the names of these."""
    for made in classified(cfg, loader):
        if not made.ann_file and made.with_label and osp.isdir(made.img_prefix):
            yield made, sorted(entry.name for entry in os.scandir(made.img_prefix) if entry.is_dir())


def classified(cfg: Config, loader: str) -> Iterator[Any]:
    """The dataset of a dataloader if it is mmpretrain's for images in folders, without its images."""
    dataset = (cfg.get(loader) or {}).get('dataset') or {}
    kind = registered(dataset, cfg.get('default_scope')) if dataset.get('type') else None
    searching = next((base.__name__ for base in getattr(kind, '__mro__', ()) if '_find_samples' in vars(base)), None)
    if searching == 'CustomDataset':
        settings = {key: value for key, value in dataset.items() if key not in ('type', '_scope_')}
        try:
            made = [kind(**{**settings, 'pipeline': [], 'lazy_init': True})]
        except TypeError:  # settings that it does not take, as building it will tell
            made = []
        yield from made
