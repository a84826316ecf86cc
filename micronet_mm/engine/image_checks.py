"""Whether the images of an annotation file are there and as large as it says."""
import logging
import os
import os.path as osp
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Optional

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from micronet_mm.datasets.coco_file import CocoFile, boxes
from micronet_mm.datasets.loading import check_whole

from .preflight import find_dicts

OPENED = 100  # images whose size is looked at, spread over a file
ORIENTATION, TURNED = 0x0112, range(5, 9)  # of EXIF: the tag, and the values by which width and height change places
ALLOWED_SHARE = 0.01  # of images of another size that may be a slip


def check_images(dataset: Mapping, path: str, file: CocoFile, evaluated: bool) -> None:
    """Raise if images are missing or of another size than annotated; say what training will skip.

    All images are looked for, each folder being listed once. Some are opened for their size. Remote ones are left
    alone.

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
    if '://' in folder or any(step.get('backend_args') or step.get('file_client_args')
                              for step in find_dicts(dataset.get('pipeline'), 'type')):
        return
    files = [osp.join(folder, image.file_name) for image in file.images]
    missing = missing_files(files)
    if len(missing) == len(files):
        raise ValueError(f'{path} lists images that are not there, such as {files[0]}: set data_prefix=dict(img=...) '
                         f'so that it and the file_name of an image make its path{like_there(files[0])}.')
    if missing:
        text = (f'{len(missing)} of {len(files)} images of {path} are not there, such as '
                f'{files[missing[0]]}{like_there(files[missing[0]])}')
        if evaluated:
            raise ValueError(f'{text}. A metric needs all: restore them, or take them out of the file.')
        print_log(f'{text}. Training leaves these out.', 'current', logging.WARNING)
    absent = set(missing)
    there = [index for index in range(len(files)) if index not in absent]
    chosen = [there[int(place)] for place in np.linspace(0, len(there) - 1, min(OPENED, len(there)))]
    check_readable(path, files, chosen, evaluated)
    check_sizes(path, file, files, chosen, turns_images(dataset.get('pipeline')))
    check_boxes(path, file)


def missing_files(files: Sequence[str]) -> list[int]:
    """The places of files that are not there."""
    by_folder = defaultdict(list)
    for index, file in enumerate(files):
        by_folder[osp.dirname(file)].append((index, osp.basename(file)))
    found = []
    for folder, members in by_folder.items():
        if len(members) < 4:  # listing a large folder for a few would take longer
            found += [index for index, name in members if not osp.exists(osp.join(folder, name))]
            continue
        try:
            names = set(os.listdir(folder or '.'))
        except OSError:
            names = set()
        found += [index for index, name in members if name not in names]
    return sorted(found)


def like_there(file: str) -> str:
    """What is there in the place of a file, with other capitals or separators."""
    folder, name = osp.split(file)
    if '\\' in name:
        return ' (its file_name has backslashes; write /)'
    try:
        near = next((each for each in os.listdir(folder or '.') if each.lower() == name.lower()), None)
    except OSError:
        return ''
    return f' (there is {near}, in other capitals)' if near else ''


def turns_images(pipeline: Any) -> bool:
    """Whether images are turned as their EXIF says when they are loaded; mmcv does so unless told otherwise."""
    for step in find_dicts(pipeline, 'type'):
        if 'LoadImage' in str(step['type']):
            kind = str(step.get('color_type', 'color'))
            return 'ignore_orientation' not in kind and kind != 'unchanged'
    return True


def size_of(file: str, turned: bool) -> Optional[tuple[int, int]]:
    """Width and height by the file's header; None if it cannot be read."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            is_turned = turned and image.getexif().get(ORIENTATION) in TURNED
    except Exception:  # of a broken file anything may come, and loading it tells
        return None
    return (height, width) if is_turned else (width, height)


def check_readable(path: str, files: Sequence[str], chosen: Sequence[int], evaluated: bool) -> None:
    """Raise if images that a metric needs are broken; say so of those of training."""
    broken = [index for index in chosen if size_of(files[index], False) is None or is_cut_off(files[index])]
    if broken:
        text = (f'{len(broken)} of {len(chosen)} images of {path} that were opened are broken or cut off, such as '
                f'{files[broken[0]]}')
        if evaluated:
            raise ValueError(f'{text}. A metric needs all: replace them, or take them out of the file.')
        print_log(f'{text}. Training leaves these out.', 'current', logging.WARNING)


def is_cut_off(file: str) -> bool:
    try:
        check_whole(file)
    except Exception:  # of a broken file anything may come
        return True
    return False


def check_sizes(path: str, file: CocoFile, files: Sequence[str], chosen: Sequence[int], turned: bool) -> None:
    """Raise if images have another size than the annotations say, as boxes are then at other places."""
    wrong = []
    for index in chosen:
        size, told = size_of(files[index], turned), (file.images[index].width, file.images[index].height)
        if size not in (None, told):
            wrong.append((index, size, told))
    if not wrong:
        return
    index, size, told = wrong[0]
    text = (f'{path}, images[{index}]: the size is {told[0]:g} x {told[1]:g} there, and that of {files[index]} is '
            f'{size[0]} x {size[1]}, as of {len(wrong)} of {len(chosen)} images that were opened')
    if size == told[::-1]:
        exif = ' by its EXIF' if size_of(files[index], False) == told else ''
        advice = (f'it is turned{exif} when it is loaded, and its boxes are not: turn the files '
                  "(mogrify -auto-orient) and their boxes alike, or load with color_type='color_ignore_orientation' "
                  'if the boxes belong to the image as it is stored.')
    else:
        advice = 'give the annotations of these very files, or the files that were annotated.'
    if len(wrong) < max(2, ALLOWED_SHARE * len(chosen)) and size != told[::-1]:
        print_log(f'{text}: {advice}', 'current', logging.WARNING)
    else:
        raise ValueError(f'{text}: {advice}')


def check_boxes(path: str, file: CocoFile) -> None:
    """Raise if boxes are those of corners or of another scale; warn of some that reach out of their image."""
    if not file.annotations:
        return
    sizes = {image.id: (image.width, image.height) for image in file.images}
    size = np.array([sizes.get(entry.image_id, (np.inf, np.inf)) for entry in file.annotations], float)
    box = boxes(file)
    over = (box[:, :2] + box[:, 2:] > size + 2 + 0.02 * np.minimum(size, 1e9)).any(1)
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
