"""Whether a metric counts what its dataset hands to the model: the same files, images and annotations."""
import json
import logging
import os.path as osp
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Optional

import msgspec
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import METRICS

from micronet_mm.datasets.coco_file import CocoFile, Identifier, PeopleFile, boxes
from micronet_mm.datasets.coco_repairs import Use, write_copy

from .paths import find_dicts

REPEATING = ('RepeatDataset', 'ClassBalancedDataset')
MOST_PEOPLE = 20  # that COCO's metric of keypoints looks at in an image


@dataclass
class Reading:
    """A file that a dataset reads, and the copy that it reads instead."""
    dataset: MutableMapping
    path: str
    copy: str
    file: CocoFile
    use: Use


class Detection(msgspec.Struct, gc=False):
    image_id: Identifier
    category_id: Identifier
    score: float


class Outline(msgspec.Struct, gc=False):
    segmentation: Optional[msgspec.Raw] = None


class Outlines(msgspec.Struct, gc=False):
    annotations: list[Outline]


def metrics_of(cfg: Config, evaluator: str) -> list[MutableMapping]:
    """The metrics that read annotations."""
    return [metric for metric in find_dicts(cfg.get(evaluator), 'type')
            if 'ann_file' in metric or is_of_poses(metric, cfg.get('default_scope'))]


def warn_of_labels(cfg: Config, loader: str, evaluator: str, kinds: Sequence[Optional[type]]) -> None:
    """Say which metric asks for labels or sizes that the datasets do not give."""
    names = {base.__name__ for kind in kinds for base in getattr(kind, '__mro__', ())}
    for metric in find_dicts(cfg.get(evaluator), 'type'):
        name, items = str(metric['type']).rpartition('.')[2], metric.get('norm_item') or ()
        if 'MultiLabelDataset' in names and name in ('Accuracy', 'SingleLabelMetric', 'ConfusionMatrix'):
            print_log(f'{evaluator} has {name}, for one label of an image, but the dataset of {loader} gives several: '
                      'use MultiLabelMetric or AveragePrecision.', 'current', logging.WARNING)
        if name == 'PCKAccuracy' and 'head' in items and names and 'MpiiDataset' not in names:
            print_log(f"{evaluator} has norm_item={items!r}, but the dataset of {loader} may not give the head_size "
                      "that 'head' needs: use norm_item='bbox'.", 'current', logging.WARNING)


def is_of_poses(metric: Mapping, scope: Optional[str]) -> bool:
    """Whether it is mmpose's, which reads the file of the dataset if it is given none."""
    with METRICS.switch_scope_and_registry(scope) as registry:
        kind = registry.get(metric['type']) if isinstance(metric['type'], str) else metric['type']
    return any(base.__name__ == 'CocoMetric' and base.__module__.startswith('mmpose.')
               for base in getattr(kind, '__mro__', ()))


def unwrap(cfg: Config, loader: str) -> None:
    """Take the images of an evaluation once each; a metric counts what is found twice as wrong."""
    while (cfg.get(loader) or {}).get('dataset', {}).get('type') in REPEATING and 'dataset' in cfg[loader].dataset:
        print_log(f'{loader} repeats images with {cfg[loader].dataset.type}, and a metric counts what is found again '
                  'as wrong. Each image is taken once.', 'current', logging.WARNING)
        cfg[loader].dataset = cfg[loader].dataset.dataset


def check_metrics(metrics: Sequence[MutableMapping], evaluator: str, loader: str, readings: Sequence[Reading],
                  folder: str, read: Callable[[str, Use, bool], tuple[str, CocoFile]]) -> None:
    """Have metrics read what the datasets read, or raise.

    Args:
        metrics: of an evaluator, changed in place.
        evaluator: its name.
        loader: the dataloader that it evaluates.
        readings: what the datasets of the loader read.
        folder: where copies are written.
        read: gives a file's copy and content.
    """
    counted = set()
    for metric in metrics:
        given = metric.get('ann_file')
        if not readings or (given and not osp.exists(given)):
            continue
        if given:
            reading, found = matching(given, readings, evaluator, loader, read)
            counted.add(reading.path)
        elif len(readings) == 1:
            reading, found = readings[0], readings[0]
        else:
            continue
        if not metric.get('format_only'):
            warn_of_ground_truth(found)
            check_outlines(metric, evaluator, found)
        copy = subset(found, reading.dataset, loader, evaluator, folder)
        if given or copy != found.copy:
            metric['ann_file'] = copy if copy != found.path else given
    lacking = [reading.path for reading in readings if counted and reading.path not in counted]
    if lacking:
        print_log(f'{loader} reads {lacking[0]} as well, which no metric of {evaluator} reads: what is found there '
                  'counts as wrong, or ends the evaluation. Give each dataset its own metric.', 'current',
                  logging.WARNING)


def matching(given: str, readings: Sequence[Reading], evaluator: str, loader: str,
             read: Callable[[str, Use, bool], tuple[str, CocoFile]]) -> tuple[Reading, Reading]:
    """Return the reading of the dataset whose images a metric's file lists, and the reading of the metric's file."""
    for reading in readings:
        if osp.samefile(reading.path, given) or osp.samefile(reading.copy, given):
            return reading, reading
    for reading in readings:
        copy, file = read(given, reading.use, True)
        if images(file) == images(reading.file):
            return reading, Reading(reading.dataset, given, copy, file, reading.use)
    raise ValueError(f'{evaluator} reads {given}, but the dataset of {loader} {readings[0].path}: give both the same '
                     'file.')


def images(file: CocoFile) -> set:
    return {(image.id, image.file_name) for image in file.images}


def subset(found: Reading, dataset: Mapping, loader: str, evaluator: str, folder: str) -> str:
    """Return the file for a metric: a copy with only the images and people that the dataset yields."""
    file = found.file
    chosen = chosen_people(dataset, file) if isinstance(file, PeopleFile) else chosen_images(dataset, file)
    if chosen is None:
        return found.copy
    listed, counted = chosen
    content = json.loads(Path(found.copy).read_bytes())
    content['images'] = [image for image in content['images'] if image['id'] in listed]
    content['annotations'] = [
        entry for entry, known in zip(content.get('annotations', ()), file.annotations) if known.image_id in listed
        and (counted is None or known.id in counted or not is_counted(known))]
    copy = write_copy(found.path, content, folder)
    what = f'{len(listed)} of the {len(file.images)} images'
    print_log(f'{loader} gives {what if counted is None else f"{len(counted)} people in {what}"} of {found.path}. '
              f'{evaluator} goes on with a copy, {copy}, that has these.', 'current', logging.WARNING)
    return copy


def chosen_images(dataset: Mapping, file: CocoFile) -> Optional[tuple[set, None]]:
    """Ids of the images that a detector's dataset gives; None for all."""
    chosen, settings = file.images, dataset.get('filter_cfg') or {}
    if settings and not dataset.get('test_mode'):
        used = {entry.image_id for entry in file.annotations} if settings.get('filter_empty_gt') else None
        chosen = [image for image in chosen if min(image.width, image.height) >= settings.get('min_size', 0)
                  and (used is None or image.id in used)]
    chosen = sliced(chosen, dataset.get('indices'))
    return ({image.id for image in chosen}, None) if 0 < len(chosen) != len(file.images) else None


def chosen_people(dataset: Mapping, file: PeopleFile) -> Optional[tuple[set, Optional[set]]]:
    """Ids of the images and annotations that a dataset of keypoints gives, None for all annotations; None for all."""
    interval, indices = dataset.get('sample_interval', 1), dataset.get('indices')
    order = {image.id: place for place, image in enumerate(file.images) if image.id % interval == 0}
    people = sorted((entry for entry in file.annotations if entry.image_id in order),
                    key=lambda entry: order[entry.image_id])
    counted = None
    if indices is None:
        listed = set(order)
    elif dataset.get('bbox_file'):
        least = (dataset.get('filter_cfg') or {}).get('bbox_score_thr', -np.inf)
        found = [each for each in read_detections(dataset['bbox_file'])
                 if each.category_id == 1 and each.score >= least]
        listed = {each.image_id for each in sliced(found, indices)}
    elif dataset.get('data_mode') == 'bottomup':
        having = list(dict.fromkeys(entry.image_id for entry in people))
        listed = set(sliced(having + [each for each in order if each not in set(having)], indices))
    else:
        chosen = sliced([entry for entry in people if is_counted(entry)], indices)
        listed, counted = {entry.image_id for entry in chosen}, {entry.id for entry in chosen}
    everyone = len(listed) == len(file.images) and counted is None
    return None if everyone or not listed else (listed, counted)


def sliced(entries: Sequence[Any], indices: Any) -> Sequence[Any]:
    """What MMEngine's datasets keep."""
    if indices is None:
        return entries
    if isinstance(indices, int):
        return entries[:indices] if indices >= 0 else entries[indices:]
    if any(not -len(entries) <= index < len(entries) for index in indices):
        raise ValueError(f'indices of the dataset reach to {max(indices)}, and it has {len(entries)} entries, counted '
                         'from 0: leave those out that are not there.')
    return [entries[index] for index in indices]


def is_counted(entry: Any) -> bool:
    return not entry.iscrowd and getattr(entry, 'num_keypoints', 1) != 0


def read_detections(path: str) -> list[Detection]:
    return msgspec.json.decode(Path(path).read_bytes(), type=list[Detection])


def leave_strangers_out(dataset: MutableMapping, path: str, file: CocoFile, folder: str) -> None:
    """Give the dataset a copy of the detected people without those in images that the annotations do not list."""
    given = dataset['bbox_file']
    listed = {image.id for image in file.images}
    try:
        strange = [each.category_id == 1 and each.image_id not in listed for each in read_detections(given)]
    except (OSError, msgspec.MsgspecError):  # mmpose tells
        return
    if any(strange):
        kept = [each for each, is_strange in zip(json.loads(Path(given).read_bytes()), strange) if not is_strange]
        dataset['bbox_file'] = write_copy(given, kept, folder)
        print_log(f'{given}: {sum(strange)} of {len(strange)} detected people are in images that {path} does not list. '
                  f'Continuing with a copy, {dataset["bbox_file"]}, without them.', 'current', logging.WARNING)


def warn_of_ground_truth(found: Reading) -> None:
    """Say what makes a metric of perfect results less than 1, or tells little."""
    file, path = found.file, found.path
    if not file.annotations:
        return
    said = []
    if not any(map(is_counted, file.annotations)):
        said.append('every annotation is a crowd or has no labelled keypoint, and AP is -1')
    box = boxes(file)
    areas = np.array(list(map(attrgetter('area'), file.annotations)), float)
    sides = box[:, 2] * box[:, 3]
    if (areas > 1.5 * sides).mean() > 0.5:
        said.append('most areas are larger than their boxes; AP by size, and of keypoints, is computed with them')
    thin = ((box[:, 2:] < 1).any(1) & (box[:, 2:] > 0).all(1)).sum()
    if thin and not isinstance(file, PeopleFile):
        said.append(f'{thin} boxes are thinner than a pixel, which the dataset leaves out and the metric counts')
    if isinstance(file, PeopleFile):
        people = Counter(entry.image_id for entry in file.annotations if is_counted(entry))
        said += [f'the image {image} has {count} people, and COCO\'s metric counts only the best {MOST_PEOPLE}'
                 for image, count in people.most_common(1) if count > MOST_PEOPLE]
    if said:
        print_log(f'{path}: {"; ".join(said)}.', 'current', logging.WARNING)


def check_outlines(metric: Mapping, evaluator: str, found: Reading) -> None:
    """Raise if a metric of masks reads annotations that have none."""
    names = metric.get('metric')
    if 'segm' in (names if isinstance(names, (list, tuple)) else [names]):
        outlines = msgspec.json.decode(Path(found.copy).read_bytes(), type=Outlines).annotations
        bare = [index for index, entry in enumerate(outlines) if bytes(entry.segmentation or b'[]') in (b'[]', b'null')]
        if bare:
            raise ValueError(f"{evaluator} computes 'segm', but {len(bare)} of {len(outlines)} annotations of "
                             f"{found.path} have no segmentation, such as annotations[{bare[0]}]: set metric='bbox', "
                             'or give the file that has them.')
