"""Annotation files in COCO's format: what is wrong with one, before anything is built on it.

Libraries find out late, some in the first evaluation, and drop in silence what they do not understand. Only the fields
that are looked at are decoded here, so that looking costs little beside loading.
"""
import logging
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Optional, Union

import msgspec
from mmengine.logging import print_log

Identifier = Union[int, str]


class Image(msgspec.Struct, gc=False):
    id: Identifier
    file_name: str
    width: int
    height: int


class Annotation(msgspec.Struct, gc=False):
    id: Identifier
    image_id: Identifier
    category_id: int
    bbox: tuple[float, float, float, float]
    area: Optional[float] = None
    iscrowd: Optional[int] = None


class Category(msgspec.Struct):
    id: int
    name: str


class CocoFile(msgspec.Struct, gc=False):
    """What has to be in a file."""
    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


def read_coco_file(path: Union[str, Path]) -> CocoFile:
    """Decode a file, and look at what must hold whatever it is used for.

    Raises:
        ValueError: one line that says which file, which entry, what is wrong and what to do.
    """
    try:
        file = msgspec.json.decode(Path(path).read_bytes(), type=CocoFile)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(' - at ')
        entry = where.strip('`').removeprefix('$').lstrip('.')
        raise ValueError(f'{path}{f", {entry}" if entry else ""}: {what[0].lower()}{what[1:]}; correct it, as COCO\'s '
                         'format has it (boxes are x, y, width, height).') from None
    except msgspec.DecodeError as error:
        raise ValueError(f'{path} cannot be read as JSON ({error}); it may have been cut off: get it anew.') from None
    for name in ('images', 'annotations', 'categories'):
        entries = getattr(file, name)
        if not entries:
            raise ValueError(f'{path} lists no {name}: give the file that has them.')
        if len({entry.id for entry in entries}) < len(entries):
            raise ValueError(f'{path} has several {name} of one id, such as {twice(entries)}; number them anew.')
    return file


def twice(entries: Sequence[Any]) -> Identifier:
    """The first id that is there again."""
    seen: set[Identifier] = set()
    return next(entry.id for entry in entries if entry.id in seen or seen.add(entry.id))


def check_names(path: Union[str, Path], file: CocoFile, classes: Sequence[str]) -> None:
    """Raise ValueError unless every class is a category of the file, in the same order.

    mmdet numbers labels in the file's order, so that others would get each other's names.
    """
    names = [category.name for category in file.categories]
    for name in classes:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            raise ValueError(f'{path} has no category {name!r}, which is one of the classes of the dataset'
                             f'{f"; did you mean {near[0]!r}?" if near else "."} Its categories are '
                             f'{tuple(names)}: give the dataset metainfo=dict(classes=...) with names from these.')
    ordered = tuple(name for name in names if name in set(classes))
    if ordered != tuple(classes):
        raise ValueError(f'{path} has its categories in another order than the classes of the dataset, which would get '
                         f'wrong names: set metainfo=dict(classes={ordered}).')


def warn_of_strays(path: Union[str, Path], file: CocoFile) -> None:
    """Say which annotations will be left out, as libraries do not."""
    images, categories = {image.id for image in file.images}, {category.id for category in file.categories}
    for key, fits, fault in (('image_id', images.__contains__, 'which the file does not list'),
                             ('category_id', categories.__contains__, 'which the file does not list'),
                             ('bbox', has_area, 'which has no area')):
        strays = [index for index, entry in enumerate(file.annotations) if not fits(getattr(entry, key))]
        if strays:
            first = f'annotations[{strays[0]}] with {key}={getattr(file.annotations[strays[0]], key)}'
            print_log(f'{path}: {len(strays)} annotations are left out, such as {first}, {fault}.', 'current',
                      logging.WARNING)


def has_area(box: Sequence[float]) -> bool:
    return box[2] > 0 and box[3] > 0
