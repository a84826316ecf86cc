"""Look into the data that a config names before anything is built from it."""
import os.path as osp
from collections.abc import Mapping, Sequence
from typing import Optional

from mmengine.config import Config
from mmengine.registry import DATASETS

from micronet_mm.datasets.class_names import class_names
from micronet_mm.datasets.coco_file import (
    CocoFile,
    PeopleFile,
    boxes,
    check_names,
    read_coco_file,
    sizes,
    warn_of_strays,
)
from micronet_mm.datasets.coco_repairs import Use, repaired

from .images import check_boxes, check_images
from .joints import number_of_joints
from .metrics import (
    Reading,
    check_metrics,
    leave_strangers_out,
    metrics_of,
    unwrap,
    warn_of_labels,
)
from .paths import find_dicts

COCO_BASES = dict(CocoDataset=1.0, BaseCocoStyleDataset=0.53)  # and the share of its box that a thing fills
# Methods that read a file. A dataset that overrides one of them may read another format.
LOADERS = ('load_data_list', '_load_annotations', 'parse_data_info')


def check_data(cfg: Config, loaders: Sequence[str], evaluators: Sequence[str]) -> None:
    """Raise for annotations that the libraries would misread, or that dataset and metric read differently.

    Repairs are made in copies in the work dir; ``cfg`` then names the copies.

    Args:
        cfg: a full config, changed in place.
        loaders: dataloaders that will be used, for example ``['train_dataloader']``.
        evaluators: evaluators that will be used.

    Raises:
        ValueError: one line that says which file, which entry, what is wrong and what to do.
    """
    scope, folder = cfg.get('default_scope'), osp.join(cfg.get('work_dir') or '', 'annotations')
    files: dict[tuple, tuple[str, CocoFile]] = {}

    def read(path: str, use: Use, annotated: bool) -> tuple[str, CocoFile]:
        if (path, use) not in files:
            kind = CocoFile if use.keypoints is None else PeopleFile
            file = read_coco_file(path, kind, annotated)
            copy = repaired(path, file, folder, use)
            files[path, use] = copy, file if copy == path else read_coco_file(copy, kind, annotated)
        return files[path, use]

    for loader in loaders:
        evaluator = loader.replace('dataloader', 'evaluator')
        metrics = metrics_of(cfg, evaluator) if evaluator in evaluators else []
        annotated = not metrics or not all(metric.get('format_only') for metric in metrics)
        if evaluator in evaluators:
            unwrap(cfg, loader)
        datasets = list(find_dicts((cfg.get(loader) or {}).get('dataset'), 'type'))
        if evaluator in evaluators:
            warn_of_labels(cfg, loader, evaluator, [registered(dataset, scope) for dataset in datasets])
        readings = []
        for dataset in datasets:
            path, share = coco_annotations(dataset, scope)
            if path:
                use = use_of(dataset, share, evaluator in evaluators, scope)
                copy, file = read(path, use, annotated)
                check_coco(dataset, path, file, scope, evaluator in evaluators)
                if isinstance(file, PeopleFile) and annotated:
                    check_keypoints(path, file, use.keypoints)
                if use.detected:
                    leave_strangers_out(dataset, path, file, folder)
                if copy != path:
                    dataset['ann_file'] = copy
                readings.append(Reading(dataset, path, copy, file, use))
        check_metrics(metrics, evaluator, loader, readings, folder, read)


def use_of(dataset: Mapping, share: float, evaluated: bool, scope: Optional[str]) -> Use:
    """Return how a dataset uses its annotations."""
    if share == 1:
        return Use(share, class_names(dataset) or (), evaluated)
    return Use(share, (), evaluated, number_of_joints(dataset, registered(dataset, scope)) or 0,
               evaluated and bool(dataset.get('bbox_file')))


def registered(dataset: Mapping, scope: Optional[str]) -> Optional[type]:
    """Return the class of a dataset, or None if it is not registered."""
    with DATASETS.switch_scope_and_registry(scope) as registry:
        kind = registry.get(dataset['type']) if isinstance(dataset['type'], str) else dataset['type']
    return kind if isinstance(kind, type) else None


def coco_annotations(dataset: Mapping, scope: Optional[str]) -> tuple[Optional[str], float]:
    """Return the COCO file that a dataset reads, or None, and the share of its box that an object fills."""
    kind = registered(dataset, scope)
    path = osp.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    if kind and path.endswith('.json') and osp.isfile(path):
        for base in kind.__mro__:
            if 'load_data_list' in vars(base) and base.__name__ in COCO_BASES:
                return path, COCO_BASES[base.__name__]
            if not vars(base).keys().isdisjoint(LOADERS):
                return None, 1
    return None, 1


def check_coco(dataset: Mapping, path: str, file: CocoFile, scope: Optional[str], evaluated: bool = False) -> None:
    """Raise if the classes, boxes or images of a dataset do not match its file."""
    box, size = boxes(file), sizes(file)
    warn_of_strays(path, file, box, size)
    kind = registered(dataset, scope)
    known = getattr(kind, 'METAINFO', {})
    given = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(given, str) and not osp.exists(given):
        raise ValueError(f'metainfo.classes={given!r} of the dataset of {path} is one string, which counts as the '
                         f'name of a file: for one class write ({given!r}, ) with the comma.')
    classes = class_names(dataset, known)
    if classes:
        as_written = {str(category.name): category.name for category in file.categories}
        matched = tuple(as_written.get(str(name), name) for name in classes)
        if matched != classes:  # numbers here and text there
            dataset.setdefault('metainfo', {})['classes'] = classes = matched
        check_names(path, file, classes)
    if len(box) and box[:1000].max() <= 1:
        raise ValueError(f'the boxes of {path} are shares of width and height, such as {tuple(box[0].tolist())}: write '
                         'x, y, width and height in pixels.')
    check_images(dataset, path, file, evaluated)
    check_boxes(path, box, size)


def check_keypoints(path: str, file: PeopleFile, joints: int) -> None:
    """Raise if people have no keypoints, or another number than the metainfo describes."""
    if not any(value > 0 for person in file.annotations for value in (person.keypoints or ())[2::3]):
        raise ValueError(f'{path} has no labelled keypoint, whose third number is 1 or 2: give the file that has them.')
    for index, person in enumerate(file.annotations):
        if person.keypoints and joints and len(person.keypoints) != 3 * joints:
            raise ValueError(f'{path}, annotations[{index}]: it annotates {len(person.keypoints) / 3:g} keypoints a '
                             f'person, but the metainfo of the dataset describes {joints}: give the file that belongs '
                             'to it, or dataset.metainfo=dict(from_file=...) that describes these.')


def completed(path: str, file: CocoFile, folder: str, share: float = 1.0) -> str:
    """Return the file, or a copy in ``folder`` that has ``area`` and ``iscrowd`` everywhere."""
    return repaired(path, file, folder, Use(share))
