"""Look into the data that a config names before anything is built from it."""
import json
import logging
import os.path as osp
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from micronet_mm.checkpoint.atomic import write_text_atomically
from micronet_mm.datasets.coco_file import CocoFile, check_names, read_coco_file, warn_of_strays

from .preflight import find_dicts

COCO_BASES = dict(CocoDataset=1.0, BaseCocoStyleDataset=0.53)  # and the share of its box that a thing fills
LOOKED_FOR = 20  # images of a file


def check_data(cfg: Config, loaders: Sequence[str], evaluators: Sequence[str]) -> None:
    """Raise for annotations that are not what libraries take them for.

    Where annotations have no ``area`` or ``iscrowd``, copies that have them are written into the work dir, and ``cfg``
    names these.

    Args:
        cfg: a full config, changed in place.
        loaders: dataloaders that will be used, for example ``['train_dataloader']``.
        evaluators: evaluators that will be used.

    Raises:
        ValueError: one line that says which file, which entry, what is wrong and what to do.
    """
    files: dict[str, CocoFile] = {}
    copies: dict[str, str] = {}
    for loader in loaders:
        read = []
        for dataset in find_dicts((cfg.get(loader) or {}).get('dataset'), 'type'):
            path, share = coco_annotations(dataset, cfg.get('default_scope'))
            if path:
                read.append(path)
                file = files[path] = files.get(path) or read_coco_file(path)
                check_coco(dataset, path, file, cfg.get('default_scope'))
                copies[path] = copies.get(path) or completed(path, file, osp.join(cfg.work_dir, 'annotations'), share)
                if copies[path] != path:
                    dataset['ann_file'] = copies[path]
        check_evaluator(cfg, loader.replace('dataloader', 'evaluator'), loader, read)
    for evaluator in evaluators:
        for metric in find_dicts(cfg.get(evaluator), 'ann_file'):
            copy = next((copy for path, copy in copies.items() if is_same(path, metric['ann_file'])), None)
            metric['ann_file'] = copy or metric['ann_file']


def check_evaluator(cfg: Config, evaluator: str, loader: str, read: Sequence[str]) -> None:
    """Raise if the metrics of a phase read annotations of other images than its dataset."""
    for metric in find_dicts(cfg.get(evaluator), 'ann_file'):
        evaluated = metric['ann_file']
        if read and evaluated and osp.exists(evaluated) and not any(is_same(path, evaluated) for path in read):
            raise ValueError(f'{evaluator} reads {evaluated}, but the dataset of {loader} {read[0]}: give both the '
                             'same file.')


def is_same(first: str, second: Optional[str]) -> bool:
    return bool(second) and osp.exists(second) and osp.samefile(first, second)


def registered(dataset: Mapping, scope: Optional[str]) -> Optional[type]:
    """The class of a dataset, if there is one."""
    with DATASETS.switch_scope_and_registry(scope) as registry:
        kind = registry.get(dataset['type']) if isinstance(dataset['type'], str) else dataset['type']
    return kind if isinstance(kind, type) else None


def coco_annotations(dataset: Mapping, scope: Optional[str]) -> tuple[Optional[str], float]:
    """The file in COCO's format that a dataset reads, if it does, and the share of its box that a thing in it fills."""
    kind = registered(dataset, scope)
    path = osp.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    if kind and path.endswith('.json') and osp.isfile(path):
        for base in kind.__mro__:
            if 'load_data_list' in vars(base):  # what it makes of the file
                return (path, COCO_BASES[base.__name__]) if base.__name__ in COCO_BASES else (None, 1)
    return None, 1


def check_coco(dataset: Mapping, path: str, file: CocoFile, scope: Optional[str]) -> None:
    """Raise if a dataset asks for other classes than a file has, or looks for its images elsewhere."""
    warn_of_strays(path, file)
    kind = registered(dataset, scope)
    classes = (dataset.get('metainfo') or {}).get('classes') or getattr(kind, 'METAINFO', {}).get('classes')
    if isinstance(classes, str) and not osp.exists(classes):
        raise ValueError(f'metainfo.classes={classes!r} of the dataset of {path} is one string, which counts as the '
                         f'name of a file: for one class write ({classes!r}, ) with the comma.')
    if classes and not isinstance(classes, str):
        check_names(path, file, classes)
    prefix = dataset.get('data_prefix') or {}
    folder = osp.join(dataset.get('data_root') or '', prefix.get('img', '') if isinstance(prefix, Mapping) else prefix)
    images = [osp.join(folder, image.file_name) for image in file.images[:LOOKED_FOR]]
    if '://' not in folder and not any(map(osp.exists, images)):
        raise ValueError(f'{path} lists images that are not there, such as {images[0]}: set data_prefix=dict(img=...) '
                         'so that it and the file_name of an image make its path.')


def completed(path: str, file: CocoFile, folder: str, share: float = 1.0) -> str:
    """The file, or a copy in ``folder`` with ``area`` and ``iscrowd`` where annotations have none.

    Args:
        path: the file.
        file: what is in it.
        folder: where a copy is written.
        share: area of a thing in its box: 1 for boxes, 0.53 for people with keypoints, as mmpose takes it.
    """
    lacking = {key: sum(getattr(entry, key) is None for entry in file.annotations) for key in ('area', 'iscrowd')}
    if not any(lacking.values()):
        return path
    content = json.loads(Path(path).read_bytes())
    for entry in content['annotations']:
        *_, width, height = entry['bbox']
        for key, value in (('area', share * width * height), ('iscrowd', 0)):
            entry[key] = value if entry.get(key) is None else entry[key]
    text = json.dumps(content)
    copy = Path(osp.abspath(folder)) / f'{Path(path).stem}_{sha256(text.encode()).hexdigest()[:8]}.json'
    copy.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(text, copy)
    missing = ' and '.join(f'{count} have no {key}' for key, count in lacking.items() if count)
    print_log(f'{path}: of {len(file.annotations)} annotations {missing}. Going on with a copy, {copy}, in which area '
              f'is {share:g} * width * height and iscrowd is 0.', 'current', logging.WARNING)
    return str(copy)
