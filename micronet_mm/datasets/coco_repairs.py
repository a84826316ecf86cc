"""What is repaired in a copy of an annotation file in COCO's format, so that dataset and metric understand it alike."""
import json
import logging
import os.path as osp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Any, Optional

import numpy as np
from mmengine.logging import print_log

from micronet_mm.checkpoint.atomic import write_text_atomically

from .coco_file import CocoFile, PeopleFile, boxes, sizes, with_integers


@dataclass
class Repair:
    """A fault of some annotations or of the whole file, and its repair.

    Attributes:
        fault: description, such as "have no area".
        remedy: description of the repaired copy, such as "area is width * height".
        places: indices of the faulty annotations.
        change: called with each faulty annotation and its index.
        file: called with the whole content.
    """
    fault: str
    remedy: str
    places: Sequence[int] = ()
    change: Optional[Callable[[dict, int], None]] = None
    file: Optional[Callable[[dict], None]] = None


@dataclass(frozen=True)
class Use:
    """How a file is used.

    Attributes:
        share: share of its box that an object fills, 1 for boxes and 0.53 for people.
        classes: classes of a detector, if the config names them.
        evaluated: whether a metric reads the file as well.
        keypoints: number of keypoints of a person; None if keypoints are not read.
        detected: whether people come from a file of detections, which all have category 1.
    """
    share: float = 1.0
    classes: tuple = ()
    evaluated: bool = False
    keypoints: Optional[int] = None
    detected: bool = False


def repairs(file: CocoFile, use: Use) -> Iterator[Repair]:
    """Everything that has to be repaired."""
    if not file.is_utf8:
        yield Repair('libraries cannot decode the text', 'it is ASCII', file=lambda content: None)
    if file.has_floats:  # mmpose looks for integers
        yield Repair('ids are floats', 'they are integers', file=with_integers)
    yield from identifier_repairs(file, use)
    if use.keypoints is None:
        yield from category_repairs(file, use)
    elif use.detected and len(file.categories) == 1 and file.categories[0].id != 1:
        yield Repair('detected people are of category 1, and it has another', 'it has 1', file=only_category)
    if not file.annotations:
        return
    yield from reading_repairs(file, use)
    if use.keypoints is not None:
        yield from keypoint_repairs(file, use.keypoints)
    if use.evaluated:
        yield from metric_repairs(file, use)


def reading_repairs(file: CocoFile, use: Use) -> Iterator[Repair]:
    """What datasets read of every annotation."""
    def set_area(entry: dict, place: int) -> None:
        entry['area'] = use.share * entry['bbox'][2] * entry['bbox'][3]

    areas = np.array(list(map(attrgetter('area'), file.annotations)), float)
    wrong = ~((areas > 0) & np.isfinite(areas))
    if wrong.any():
        absent = np.array([file.annotations[index].area is None for index in np.flatnonzero(wrong)])
        places = np.flatnonzero(wrong)
        remedy = f'area is {use.share:g} * width * height'
        if absent.any():
            yield Repair('have no area', remedy, places[absent], set_area)
        sides = boxes(file)[places, 2:].min(1)
        void = places[~absent & (sides >= 1 if use.keypoints is None else sides > 0)]  # mmdet drops thin boxes
        yield Repair('have an area that is not positive', remedy, void, set_area)
    if None in map(attrgetter('iscrowd'), file.annotations):
        places = [index for index, entry in enumerate(file.annotations) if entry.iscrowd is None]
        yield Repair('have no iscrowd', 'iscrowd is 0', places, lambda entry, place: entry.update(iscrowd=0))


def identifier_repairs(file: CocoFile, use: Use) -> Iterator[Repair]:
    """Ids that are text in one place and numbers in another, and text for mmpose, which calculates with them."""
    for name, key in (('images', 'image_id'), ('categories', 'category_id')):
        listed = getattr(file, name)
        kinds = set(map(type, map(attrgetter('id'), listed)))
        kinds.update(type(getattr(entry, key)) for entry in file.annotations[:1])  # of all would take long
        if (len(kinds) > 1 or (kinds == {str} and use.keypoints is not None)) and (
                len({str(entry.id) for entry in listed}) == len(listed)):
            yield Repair(f'ids of {name} are text', 'they are numbers', file=partial(renumber, name=name, key=key))


def renumber(content: dict, name: str, key: str) -> None:
    numbers = {str(entry['id']): index for index, entry in enumerate(content[name], start=1)}
    for entry in content[name]:
        entry['id'] = numbers[str(entry['id'])]
    for entry in content.get('annotations', ()):
        entry[key] = numbers.get(str(entry[key]), 0)


def only_category(content: dict) -> None:
    content['categories'][0]['id'] = 1
    for entry in content.get('annotations', ()):
        entry['category_id'] = 1


def category_repairs(file: CocoFile, use: Use) -> Iterator[Repair]:
    """Merge categories of one name; sort the categories of an evaluated file like the classes.

    mmdet numbers labels by the categories whose names are classes.
    """
    classes = list(map(str, use.classes))
    names = [str(category.name) for category in file.categories]
    double = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if double:
        used = set(map(attrgetter('category_id'), file.annotations))
        kept, merged = {}, {}
        for category in sorted(file.categories, key=lambda category: category.id not in used):
            merged[category.id] = kept.setdefault(str(category.name), category.id)

        def merge(content: dict) -> None:
            content['categories'] = [category for category, known in zip(content['categories'], file.categories)
                                     if merged[known.id] == known.id]
            for entry in content.get('annotations', ()):
                entry['category_id'] = merged.get(entry['category_id'], entry['category_id'])

        yield Repair(f'several categories are named {double[0]!r}', 'they are one', file=merge)
    known = [name for name in dict.fromkeys(names) if name in classes]
    if use.evaluated and classes and len(set(classes)) == len(classes) and known != classes and (
            len(known) == len(classes) or set(names) < set(classes)):

        def reorder(content: dict) -> None:
            listed = {str(category['name']): category for category in content['categories']}
            free = max((c['id'] for c in content['categories'] if isinstance(c['id'], int)), default=0) + 1
            content['categories'] = [
                listed.pop(name, None) or dict(id=free + index, name=name) for index, name in enumerate(classes)
            ] + list(listed.values())

        yield Repair('the categories are not the classes of the dataset in their order', 'they are', file=reorder)


def keypoint_repairs(file: PeopleFile, keypoints: int) -> Iterator[Repair]:
    """Keypoints of everyone, and their number; a person with none is left out by dataset and metric."""
    bare, miscounted = [], []
    for index, person in enumerate(file.annotations):
        if not person.keypoints:
            bare.append(index)
        else:
            labelled = sum(value > 0 for value in person.keypoints[2::3])
            counted = person.num_keypoints
            if counted is None or (counted == 0 and labelled) or (counted and not (labelled or has_place(person))):
                miscounted.append(index)
    yield Repair('have no keypoints', 'they have 0 labelled ones', bare, lambda entry, place: entry.update(
        keypoints=[0] * 3 * keypoints, num_keypoints=0))
    yield Repair('have no or another num_keypoints', 'it counts the labelled ones', miscounted, lambda entry, place:
                 entry.update(num_keypoints=sum(value > 0 for value in entry['keypoints'][2::3])))


def has_place(person: Any) -> bool:
    """Whether a keypoint is right of or below the corner of the image; mmpose leaves a person out otherwise."""
    return max(*person.keypoints[0::3], *person.keypoints[1::3]) > 0


def metric_repairs(file: CocoFile, use: Use) -> Iterator[Repair]:
    """What a metric counts but a dataset leaves out becomes a crowd, which counts for nothing; ids are positive.

    pycocotools takes the id 0 of a match for "no match".
    """
    def number(content: dict) -> None:
        for index, entry in enumerate(content['annotations'], start=1):
            entry['id'] = index

    ids = list(map(attrgetter('id'), file.annotations))
    if not all(map(int.__instancecheck__, ids)) or min(ids) < 1:
        yield Repair('ids are not positive integers', 'annotations are numbered from 1', file=number)
    hidden = left_out(file, use.keypoints is not None)
    yield Repair('are left out by the dataset but counted by the metric', 'they are crowds, which do not count',
                 np.flatnonzero(hidden), lambda entry, place: entry.update(iscrowd=1))


def left_out(file: CocoFile, people: bool) -> np.ndarray:
    """Of every annotation, whether a dataset leaves it out although nothing tells the metric."""
    size, box = sizes(file), boxes(file)
    last = size - 1 if people else size
    inside = np.clip(box[:, :2] + box[:, 2:], 0, last) - np.clip(box[:, :2], 0, last)
    hidden = (inside <= 0).any(1)
    if people:
        hidden |= [bool(person.keypoints) and not has_place(person) for person in file.annotations]
    else:
        hidden |= [bool(entry.ignore) for entry in file.annotations]
    return hidden & [not entry.iscrowd for entry in file.annotations] & [
        not people or getattr(entry, 'num_keypoints', 1) != 0 for entry in file.annotations]


def repaired(path: str, file: CocoFile, folder: str, use: Use) -> str:
    """Return the file, or a repaired copy in ``folder``; see :func:`repairs`.

    Args:
        path: the file.
        file: its content.
        folder: folder of the copy.
        use: how the file is used.
    """
    found = [repair for repair in repairs(file, use) if repair.file or len(repair.places)]
    if not found:
        return path
    content = json.loads(Path(path).read_bytes())
    for repair in found:
        if repair.file:
            repair.file(content)
        for place in repair.places:
            repair.change(content['annotations'][place], place)
    copy = write_copy(path, content, folder)
    counted = [f'{len(repair.places)} {repair.fault}' for repair in found if len(repair.places)]
    faults = [repair.fault for repair in found if not len(repair.places)]
    faults += [f'of {len(file.annotations)} annotations {" and ".join(counted)}'] if counted else []
    remedies = dict.fromkeys(repair.remedy for repair in found)
    print_log(f'{path}: {", ".join(faults)}. Continuing with a copy, {copy}: {" and ".join(remedies)}.',
              'current', logging.WARNING)
    return copy


def write_copy(path: str, content: Any, folder: str) -> str:
    """Write JSON into ``folder`` below a name made of its content, so that processes write the same."""
    text = json.dumps(content)
    copy = Path(osp.abspath(folder)) / f'{Path(path).stem}_{sha256(text.encode()).hexdigest()[:8]}.json'
    copy.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(text, copy)
    return str(copy)
