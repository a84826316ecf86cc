"""Whether images are there, whole, and as large as their annotations say."""
import logging
import os
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Optional
from unicodedata import normalize

import numpy as np
from mmengine.logging import print_log
from PIL import Image as Opened

from micronet_mm.datasets.coco_file import CocoFile, Image, PeopleFile
from micronet_mm.datasets.loading import check_whole

from .metrics import chosen_images, chosen_people, is_counted
from .paths import find_dicts

OPENED = 100  # images that are opened, spread over a file
ORIENTATION, TURNED = 0x0112, range(5, 9)  # EXIF tag, and values that swap width and height
ALLOWED_SHARE = 0.01  # of images with a wrong size: only a warning up to this share
NEEDED = 'A metric needs all images: restore them, or remove them from the file.'
LOADERS = {'LoadImageFromFile', 'LoadImage', 'LoadImageOrSkip'}  # these read files; other loaders may use a database


def check_images(dataset: Mapping, path: str, file: CocoFile, evaluated: bool) -> None:
    """Raise if images are missing or have another size than annotated; warn of images that training will skip.

    Every image that the dataset loads must exist. Some are opened to check their size. Remote images are not checked.

    Args:
        dataset: config of a dataset.
        path: its annotations.
        file: what is in them.
        evaluated: whether a metric needs every image; in training some may be missing.

    Raises:
        ValueError: one line that says which image, what differs and what to do.
    """
    prefix = dataset.get('data_prefix') or {}
    prefix = prefix.get('img', '') if isinstance(prefix, Mapping) else prefix
    folder = osp.join(dataset.get('data_root') or '', prefix)
    loader = loading_step(dataset.get('pipeline'))
    if '://' in folder or not reads_files(loader):
        return
    chosen = loaded_images(dataset, file)
    opened = check_listed(path, folder, [image.file_name for image in chosen], loader, evaluated)
    check_sizes(path, file, [chosen[index] for index in opened], folder, loader)


def check_listed(path: str, folder: str, names: Sequence[str], loader: Mapping, evaluated: bool) -> Sequence[int]:
    """Raise if images of an evaluation are missing or broken; warn of them in training.

    Args:
        path: the file that lists the images, for messages.
        folder: folder of the images.
        names: paths of the images, relative to the folder.
        loader: the pipeline step that loads images.
        evaluated: whether a metric needs every image.

    Returns:
        Indices of the images that were opened.
    """
    missing = missing_files(folder, names)
    if names and len(missing) == len(names):
        first = osp.join(folder, names[0])
        raise ValueError(f'{path} lists images that are not there, such as {first}: set data_prefix=dict(img=...) '
                         f'so that it and the name of an image make its path{like_there(first)}.')
    if missing:
        first = osp.join(folder, names[missing[0]])
        outcome = NEEDED if evaluated else in_training(loader, 'missing')
        text = (f'{len(missing)} of {len(names)} images of {path} are not there, such as {first}{like_there(first)}. '
                f'{outcome}')
        if evaluated or outcome.startswith('Training stops'):
            raise ValueError(text)
        print_log(text, 'current', logging.WARNING)
    there = np.setdiff1d(np.arange(len(names)), missing)
    opened = there[np.linspace(0, len(there) - 1, min(OPENED, len(there))).astype(int)].tolist()
    files = [osp.join(folder, names[index]) for index in opened]
    check_readable(path, files, NEEDED if evaluated else in_training(loader, 'broken'))
    return opened


def loaded_images(dataset: Mapping, file: CocoFile) -> Sequence[Image]:
    """Return the images that a dataset loads: only part of the file with ``indices`` or without people."""
    people = isinstance(file, PeopleFile)
    part = chosen_people(dataset, file) if people else chosen_images(dataset, file)
    listed = part[0] if part else None
    if people and file.annotations and dataset.get('data_mode') != 'bottomup' and not dataset.get('bbox_file'):
        having = {entry.image_id for entry in file.annotations if is_counted(entry)}
        listed = having if listed is None else having & listed
    return file.images if listed is None else [image for image in file.images if image.id in listed]


def loading_step(pipeline: Any) -> Mapping:
    """Return the pipeline step that loads images, or an empty dict."""
    return next((step for step in find_dicts(pipeline, 'type') if 'LoadImage' in str(step['type'])), {})


def reads_files(loader: Mapping) -> bool:
    """Return whether a step reads local files, as far as known."""
    return (not loader or name_of(loader) in LOADERS) and not (loader.get('backend_args')
                                                               or loader.get('file_client_args'))


def name_of(step: Mapping) -> str:
    return str(step['type']).rpartition('.')[2]


def in_training(loader: Mapping, fault: str) -> str:
    """Say what training does with faulty images; empty for an unknown loader."""
    if not loader:
        return ''
    if name_of(loader) == 'LoadImageOrSkip' or loader.get('ignore_empty'):
        return 'Training skips them.'
    return (f'Training stops at the first {fault} image: restore the images, remove them from the file, or load with '
            "dict(type='LoadImageOrSkip'), which skips them.")


def missing_files(folder: str, names: Sequence[str]) -> list[int]:
    """Return the indices of names that do not exist in a folder or its subfolders."""
    absent = set(names)
    absent.difference_update(files_in(folder))
    inside = Counter(osp.dirname(name) for name in absent)
    for below, count in inside.items():
        if below and count > 3:  # listing a large folder for a few would take longer
            absent.difference_update(osp.join(below, name) for name in files_in(osp.join(folder, below)))
    # Case-insensitive file systems and unlisted folders: a file may exist although no listing contains its name.
    absent = {name for name in absent if not osp.exists(osp.join(folder, name))}
    return [index for index, name in enumerate(names) if name in absent] if absent else []


def files_in(folder: str) -> list[str]:
    """List a folder without dangling links; return an empty list if the folder cannot be listed."""
    try:
        with os.scandir(folder or '.') as entries:
            return [entry.name for entry in entries if not entry.is_symlink() or osp.exists(entry.path)]
    except OSError:
        return []


def like_there(file: str) -> str:
    """Say if a similar file exists, with other capitals, separators or Unicode forms."""
    folder, name = osp.split(file)
    if '\\' in name:
        return ' (its file_name has backslashes; write /)'
    if osp.islink(file):
        return f' (a link to {os.readlink(file)}, where nothing is)'
    for other in files_in(folder):
        if normalize('NFC', other) == normalize('NFC', name):
            return ' (there is one whose accents are encoded otherwise; write both in the Unicode form NFC)'
        if other.lower() == name.lower():
            return f' (there is {other}, in other capitals)'
    return ''


def turns_images(loader: Mapping) -> bool:
    """Return whether the loader applies the EXIF rotation, as mmcv does by default."""
    kind = str(loader.get('color_type', 'color'))
    return 'ignore_orientation' not in kind and kind != 'unchanged'


def size_of(file: str, turned: bool) -> Optional[tuple[int, int]]:
    """Return width and height from the file's header, or None if it cannot be read."""
    try:
        with Opened.open(file) as image:
            width, height = image.size
            is_turned = turned and image.getexif().get(ORIENTATION) in TURNED
    except Exception:  # a broken file may raise anything; loading reports it
        return None
    return (height, width) if is_turned else (width, height)


def check_readable(path: str, files: Sequence[str], outcome: str) -> None:
    """Warn of broken images; raise if a metric needs them."""
    broken = [file for file in files if size_of(file, False) is None or is_cut_off(file)]
    if broken:
        text = (f'{len(broken)} of {len(files)} images of {path} that were opened are broken or cut off, such as '
                f'{broken[0]}. {outcome}')
        if outcome == NEEDED:
            raise ValueError(text)
        print_log(text, 'current', logging.WARNING)


def is_cut_off(file: str) -> bool:
    try:
        check_whole(file)
    except Exception:  # a broken file may raise anything
        return True
    return False


def check_sizes(path: str, file: CocoFile, opened: Sequence[Image], folder: str, loader: Mapping) -> None:
    """Raise if images have another size than annotated, because boxes are then misplaced."""
    turned, wrong = turns_images(loader), []
    for image in opened:
        name = osp.join(folder, image.file_name)
        size, told = size_of(name, turned), (image.width, image.height)
        if size not in (None, told) and min(told) > 0:
            wrong.append((image, name, size, told))
    if not wrong:
        return
    image, name, size, told = wrong[0]
    text = (f'{path}, images[{file.images.index(image)}]: the annotated size is {told[0]:g} x {told[1]:g}, but '
            f'{name} has {size[0]} x {size[1]}; {len(wrong)} of {len(opened)} opened images differ')
    if size == told[::-1]:
        exif = ' by its EXIF' if size_of(name, False) == told else ''
        advice = (f'it is turned{exif} when it is loaded, and its boxes are not: turn the files '
                  "(mogrify -auto-orient) and their boxes alike, or load with color_type='color_ignore_orientation' "
                  'if the boxes belong to the image as it is stored.')
    else:
        advice = 'give the annotations of these very files, or the files that were annotated.'
    if len(wrong) < max(2, ALLOWED_SHARE * len(opened)):
        print_log(f'{text}: {advice}', 'current', logging.WARNING)
    else:
        raise ValueError(f'{text}: {advice}')


def check_boxes(path: str, box: np.ndarray, size: np.ndarray) -> None:
    """Raise if boxes are corners or have another scale; warn of boxes that reach beyond their image.

    Args:
        path: the file.
        box: x, y, width, height of every annotation.
        size: width and height of its image, infinite where that is not listed.
    """
    void = (size <= 0).any(1)
    if void.any():
        index = int(np.flatnonzero(void)[0])
        raise ValueError(f'{path}: the image of annotations[{index}] has the size {tuple(size[index].tolist())}, '
                         'and mmdet drops boxes outside it: write the width and height of every image.')
    over = (box[:, :2] + box[:, 2:] > 1.02 * size + 2).any(1)
    if not over.any():
        return
    index, share = int(np.flatnonzero(over)[0]), over.mean()
    text = (f'{path}: {int(over.sum())} of {len(over)} boxes reach beyond their image, such as annotations[{index}] '
            f'with bbox={tuple(box[index].tolist())} in {tuple(size[index].tolist())}')
    are_corners = ((box[:, 2:] > box[:, :2]).all() and (box[:, 2:] <= size + 1).all() and share > 0.2)
    if are_corners:
        raise ValueError(f'{text}: they seem to be x1, y1, x2, y2; write x, y, width, height.')
    if share > 0.5:
        scale = median(((box[:, :2] + box[:, 2:]) / size).max(1).tolist())
        raise ValueError(f'{text}: they seem to belong to images {scale:.2g} times as large; give the annotations of '
                         'these files.')
    print_log(f'{text}. They are cut there.', 'current', logging.WARNING)
