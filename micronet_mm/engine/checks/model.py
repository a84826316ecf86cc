"""Whether the parts of a config fit one another and the data."""
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from micronet_mm.datasets.class_names import class_names
from micronet_mm.models import MicroNet

from .class_folders import check_folders, class_folders
from .data import registered
from .joints import check_joints
from .paths import find_dicts

HEATMAP_HEADS = ('MicroHeatmapHead', 'InvertedResidualHeatmapHead')  # of stride 4 by default
# Whose num_classes counts things other than the classes of the data.
APART = ('data_preprocessor', 'rpn_head', 'backbone', 'semantic_head')


def check_consistency(cfg: Config, loaders: Sequence[str], evaluators: Sequence[str]) -> None:
    """Raise unless the widths of neck or head are the backbone's, and num_classes and class folders fit one another.

    Ranks beyond the number of classes (top-5 of 3) are taken out of the evaluators, with a word.

    Args:
        cfg: a full config, changed in place.
        loaders: dataloaders that will be used.
        evaluators: evaluators that will be used.

    Raises:
        ValueError: one line that says what differs and what to set.
    """
    check_widths(cfg.model)
    check_neck(cfg.model)
    check_codec(cfg, loaders)
    check_folders(cfg, loaders)
    check_joints(cfg, {loader: keypoint_datasets(cfg, loader) for loader in loaders}, evaluators)
    check_classes(cfg, loaders)
    for loader in loaders:
        classes = number_of_classes(cfg, loader)
        if classes:
            for path, head in heads(cfg.model, 'model'):
                given = head.get('num_classes', 1000)
                if given != classes:
                    raise ValueError(f'{path}.num_classes={given}, but the data of {loader} has {classes} classes: '
                                     f'{advice(cfg, loaders, loader, path, classes)}.')
            for evaluator in evaluators:
                limit_topk(cfg.get(evaluator), classes, evaluator)


def check_widths(model: Mapping) -> None:
    """Raise unless what reads a MicroNet expects its widths."""
    backbone, neck, *read = (first_of(model.get(name)) for name in ('backbone', 'neck', 'head', 'bbox_head'))
    if backbone.get('type') not in ('MicroNet', MicroNet):
        return
    settings = {key: value for key, value in backbone.items() if key not in ('type', '_scope_', 'init_cfg')}
    with torch.device('meta'):
        widths = MicroNet(**settings).out_channels
    # A neck without widths, if it is more than pooling, makes new ones for the head.
    is_neck = neck and 'Pooling' not in str(neck.get('type'))
    for reader, part in dict(neck=neck).items() if is_neck else zip(('head', 'bbox_head'), read):
        expected = part.get('in_channels')
        given = list(widths) if isinstance(expected, (list, tuple)) else widths[-1]
        if expected is not None and (list(expected) if isinstance(expected, tuple) else expected) != given:
            raise ValueError(f'model.{reader}.in_channels={expected}, but the backbone with '
                             f'arch={backbone.get("arch", "m3")!r} has widths {given} where it is read: set '
                             f'model.{reader}.in_channels={given}.')


def check_neck(model: Mapping) -> None:
    """Raise unless the heads after a neck expect the width of the neck."""
    neck = model.get('neck')
    made = neck.get('out_channels') if isinstance(neck, Mapping) else None
    for reader in ('head', 'bbox_head', 'rpn_head'):
        expected = first_of(model.get(reader)).get('in_channels')
        if isinstance(made, int) and isinstance(expected, int) and made != expected:
            raise ValueError(f'model.{reader}.in_channels={expected}, but model.neck.out_channels={made}: set both to '
                             'the same.')


def first_of(part: Any) -> Mapping:
    """A part of a model; of several in a row the first, which reads the backbone."""
    part = part[0] if isinstance(part, (list, tuple)) and part else part
    return part if isinstance(part, Mapping) else {}


def check_codec(cfg: Config, loaders: Sequence[str]) -> None:
    """Raise unless keypoints are made into heatmaps, and crops, of the sizes that the head's decoder reads."""
    decoder = first_of(cfg.model.get('head')).get('decoder')
    if not isinstance(decoder, Mapping):
        return
    stride = (cfg.model.head.get('strides') or (4, ))[-1]
    crop, heatmap = (tuple(decoder.get(key) or ()) for key in ('input_size', 'heatmap_size'))
    if cfg.model.head.get('type') in HEATMAP_HEADS and crop != tuple(stride * side for side in heatmap):
        small = tuple(side // stride for side in crop)
        whole = tuple(stride * side for side in small)
        setting = f'heatmap_size={small}' if whole == crop else f'input_size={whole} and heatmap_size={small}'
        raise ValueError(f'model.head.decoder has input_size={crop} and heatmap_size={heatmap}, but heatmaps of this '
                         f'head have a {stride}th of the input: set {setting}.')
    for loader in loaders:
        for step in find_dicts((cfg.get(loader) or {}).get('dataset'), 'type'):
            encoder = step.get('encoder')
            sizes = {**step, **(encoder if isinstance(encoder, Mapping) else {})}
            for key in ('input_size', 'heatmap_size'):
                if key in sizes and key in decoder and tuple(sizes[key]) != tuple(decoder[key]):
                    raise ValueError(f'the {step["type"]} of {loader} has {key}={tuple(sizes[key])}, but '
                                     f'model.head.decoder has {tuple(decoder[key])}: give both the same codec, and the '
                                     'crops its input_size.')


def heads(node: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    """Every part of a model with num_classes, our classifier's 1000 by default, and where it stands."""
    if isinstance(node, Mapping):
        if 'num_classes' in node or node.get('type') == 'MicroNetClsHead':
            yield path, node
        for key, child in node.items():
            if key not in APART:
                yield from heads(child, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from heads(child, f'{path}.{index}')


def number_of_classes(cfg: Config, loader: str) -> Optional[int]:
    """How many classes the data of a dataloader has, if that is known beforehand."""
    for _, folders in class_folders(cfg, loader):
        return len(folders)
    names = named_classes(cfg, loader)
    return len(names) if names else None


def named_classes(cfg: Config, loader: str) -> Optional[tuple]:
    """The classes of the first dataset of a dataloader that has annotations, if they are known beforehand."""
    for dataset in find_dicts((cfg.get(loader) or {}).get('dataset'), 'type'):
        names = class_names(dataset, getattr(registered(dataset, cfg.get('default_scope')), 'METAINFO', {}))
        if names and 'ann_file' in dataset:
            return names
    return None


def advice(cfg: Config, loaders: Sequence[str], loader: str, path: str, classes: int) -> str:
    """What to do about a head of other classes than a dataloader's."""
    others = {other: count for other in loaders if (count := number_of_classes(cfg, other)) not in (None, classes)}
    for other, count in others.items():
        return f'the data of {other} has {count}; give both datasets the same metainfo=dict(classes=...)'
    datasets = [dataset for dataset in find_dicts(cfg[loader].dataset, 'type') if 'ann_file' in dataset]
    if datasets and class_names(datasets[0]) is None and named_classes(cfg, loader):
        return (f'{datasets[0]["type"]} has these classes by default; name the classes of your data in '
                f'metainfo=dict(classes=...) of the dataset, or set {path}.num_classes={classes}')
    return f'set {path}.num_classes={classes}'


def check_classes(cfg: Config, loaders: Sequence[str]) -> None:
    """Raise if dataloaders name as many classes, but not the same in the same order: labels are their numbers."""
    named = {loader: list(map(str, names)) for loader in loaders if (names := named_classes(cfg, loader))}
    for loader, names in named.items():
        first, others = next(iter(named.items()))
        if len(names) == len(others) and names != others:
            index = next(index for index, pair in enumerate(zip(names, others)) if pair[0] != pair[1])
            raise ValueError(f'label {index} is {names[index]!r} in {loader} and {others[index]!r} in {first}: give '
                             'the datasets of both the same metainfo=dict(classes=...).')


def keypoint_datasets(cfg: Config, loader: str) -> list[tuple[Mapping, type]]:
    """The datasets of a dataloader whose metainfo describes keypoints, each with its class."""
    found = [(dataset, registered(dataset, cfg.get('default_scope')))
             for dataset in find_dicts((cfg.get(loader) or {}).get('dataset'), 'type')]
    return [(dataset, kind) for dataset, kind in found
            if any(base.__name__ == 'BaseCocoStyleDataset' for base in getattr(kind, '__mro__', ()))]


def limit_topk(evaluator: Any, classes: int, name: str) -> None:
    """Leave ranks out of an evaluator that every prediction would be within."""
    for metric in find_dicts(evaluator, 'topk'):
        ranks = metric['topk'] if isinstance(metric['topk'], (list, tuple)) else (metric['topk'], )
        kept = tuple(rank for rank in ranks if rank <= classes)
        if kept != tuple(ranks):
            print_log(f'{name} has topk={tuple(ranks)}, and the data {classes} classes: topk={kept or (1, )} is taken.',
                      'current', logging.WARNING)
            metric['topk'] = kept or (1, )
