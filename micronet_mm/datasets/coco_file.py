"""Annotation files in COCO's format: checks before a run.

The libraries report faults late, some only in the first evaluation, and silently drop invalid entries. Only the checked
fields are decoded here, so that the checks cost little compared with loading.
"""
import json
import logging
import math
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import chain, repeat
from mmap import ACCESS_READ, mmap
from operator import attrgetter
from pathlib import Path
from typing import Any, Optional, Union

import msgspec
import numpy as np
from mmengine.logging import print_log

Identifier = Union[int, str]
INTEGERS = dict(images=('id', ), annotations=('id', 'image_id', 'category_id', 'iscrowd'), categories=('id', ))


class Image(msgspec.Struct, gc=False):
    id: Identifier
    file_name: str
    width: float
    height: float


class Annotation(msgspec.Struct, gc=False):
    id: Identifier
    image_id: Identifier
    category_id: Identifier
    bbox: tuple[float, float, float, float]
    area: Optional[float] = None
    iscrowd: Optional[int] = None
    ignore: Union[bool, float, None] = None


class Person(Annotation, gc=False):
    """An annotation with keypoints: x, y and visibility of each, in one list."""
    keypoints: Optional[list[float]] = None
    num_keypoints: Optional[float] = None


class Category(msgspec.Struct):
    id: Identifier
    name: Union[str, int, float]
    supercategory: Any = None


class CocoFile(msgspec.Struct, gc=False):
    """What has to be in a file."""
    images: list[Image]
    categories: list[Category]
    annotations: list[Annotation] = []
    is_utf8: bool = True
    has_floats: bool = False  # for ids


class PeopleFile(CocoFile, gc=False):
    annotations: list[Person] = []


def read_coco_file(path: Union[str, Path], kind: type[CocoFile] = CocoFile, annotated: bool = True) -> CocoFile:
    """Decode a file and check the conditions that every use needs.

    Args:
        path: the file.
        kind: PeopleFile to decode keypoints as well.
        annotated: whether the file must have annotations; a test set whose results are only written needs none.

    Raises:
        ValueError: one line that says which file, which entry, what is wrong and what to do.
    """
    try:
        try:
            with open(path, 'rb') as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as raw:
                file = msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError:  # Python's json takes more: 1.0 for 1, NaN
            file = decode_as_python(Path(path).read_bytes(), kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(' - at ')
        entry = where.strip('`').removeprefix('$').lstrip('.')
        raise ValueError(f'{path}{f", {entry}" if entry else ""}: {what[0].lower()}{what[1:]}; correct it, as COCO\'s '
                         'format has it (boxes are x, y, width, height).') from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} cannot be read as JSON ({error}); it may have been cut off: get it anew.') from None
    for name in ('images', 'annotations', 'categories') if annotated else ('images', 'categories'):
        entries = getattr(file, name)
        if not entries:
            raise ValueError(f'{path} lists no {name}: give the file that has them.')
        if len({entry.id for entry in entries}) < len(entries):
            raise ValueError(f'{path} has several {name} of one id, such as {twice(entries)}; number them anew.')
    return file


def decode_as_python(raw: bytes, kind: type[CocoFile]) -> CocoFile:
    """Decode JSON as the libraries do, with Python's parser, and take integers written as floats or booleans."""
    content = json.loads(raw)
    has_floats = with_integers(content)
    file = msgspec.convert(content, type=kind)
    file.has_floats = has_floats
    for index, entry in enumerate(file.annotations):
        if not all(map(math.isfinite, entry.bbox)):
            raise msgspec.ValidationError(f'The box {entry.bbox} is not finite - at `$.annotations[{index}].bbox`')
    try:
        raw.decode('utf-8')
        file.is_utf8 = not raw.startswith(b'\xef\xbb\xbf')
    except UnicodeDecodeError:  # UTF-16, which libraries do not read
        file.is_utf8 = False
    return file


def with_integers(content: Any) -> bool:
    """Write integers for floats like 1.0 and for booleans; returns whether an id was a float."""
    found = False
    for name, keys in INTEGERS.items() if isinstance(content, dict) else ():
        entries = content.get(name)
        for entry in entries if isinstance(entries, list) else ():
            for key in keys:
                value = entry.get(key) if isinstance(entry, dict) else None
                if (isinstance(value, float) and value.is_integer()) or (isinstance(value, bool) and key == 'iscrowd'):
                    entry[key] = int(value)
                    found |= key != 'iscrowd'
    return found


def twice(entries: Sequence[Any]) -> Identifier:
    """Return the first repeated id."""
    seen: set[Identifier] = set()
    return next(entry.id for entry in entries if entry.id in seen or seen.add(entry.id))


def check_names(path: Union[str, Path], file: CocoFile, classes: Sequence[str]) -> None:
    """Raise ValueError unless every class is a category of the file, in the same order.

    mmdet numbers labels in the file's order, so that others would get each other's names.
    """
    names = [category.name for category in file.categories]
    for name in classes:
        if classes.count(name) > 1:
            raise ValueError(f'the classes of the dataset of {path} have {name!r} more than once: name each class '
                             'once.')
        if name not in names:
            near = get_close_matches(str(name), list(map(str, names)), n=1, cutoff=0.5)
            raise ValueError(f'{path} has no category {name!r}, which is one of the classes of the dataset'
                             f'{f"; did you mean {near[0]!r}?" if near else "."} Its categories are '
                             f'{used_names(file)}: give the dataset metainfo=dict(classes=...) with names from these.')
    ordered = tuple(dict.fromkeys(name for name in names if name in set(classes)))
    if ordered != tuple(classes):
        raise ValueError(f'{path} has its categories in another order than the classes of the dataset, which would get '
                         f'wrong names: set metainfo=dict(classes={ordered}).')


def used_names(file: CocoFile) -> tuple:
    """The names of categories, each once, without those that only group others, as Roboflow writes them."""
    used = set(map(attrgetter('category_id'), file.annotations))
    groups = {category.supercategory for category in file.categories}
    return tuple(dict.fromkeys(category.name for category in file.categories
                               if category.id in used or category.name not in groups))


def warn_of_strays(path: Union[str, Path], file: CocoFile, box: np.ndarray, size: np.ndarray) -> None:
    """Warn of annotations that the libraries silently drop.

    Args:
        path: the file.
        file: what is in it.
        box: of :func:`boxes`.
        size: of :func:`sizes`.
    """
    known = {category.id for category in file.categories}
    strange = [] if known.issuperset(map(attrgetter('category_id'), file.annotations)) else [
        entry.category_id not in known for entry in file.annotations]
    for key, strays, fault in (('image_id', np.isinf(size[:, 0]), 'which the file does not list'),
                               ('category_id', strange, 'which the file does not list'),
                               ('bbox', (box[:, 2:] <= 0).any(1), 'which has no area')):
        warn_of(path, file, key, strays, fault)


def warn_of(path: Union[str, Path], file: CocoFile, key: str, strays: Sequence[bool], fault: str) -> None:
    strays = np.flatnonzero(strays)
    if len(strays):
        first = f'annotations[{strays[0]}] with {key}={getattr(file.annotations[strays[0]], key)}'
        print_log(f'{path}: {len(strays)} annotations are left out, such as {first}, {fault}.', 'current',
                  logging.WARNING)


def boxes(file: CocoFile) -> np.ndarray:
    """Return x, y, width and height of every annotation: shape (N, 4)."""
    values = chain.from_iterable(map(attrgetter('bbox'), file.annotations))
    return np.fromiter(values, float, 4 * len(file.annotations)).reshape(-1, 4)


def sizes(file: CocoFile) -> np.ndarray:
    """Return width and height of every annotation's image: shape (N, 2), infinite for unlisted images."""
    places = {image.id: place for place, image in enumerate(file.images)}
    listed = map(places.get, map(attrgetter('image_id'), file.annotations), repeat(len(places)))
    values = [(image.width, image.height) for image in file.images]
    return np.array([*values, (np.inf, np.inf)], float)[np.fromiter(listed, int, len(file.annotations))]
