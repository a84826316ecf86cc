"""What an exported file says of itself: all that a runtime has to know that has no config.

One entry of the file's metadata, ``micronet_mm``, holds as JSON what :func:`describe` returns. ``micronet_runtime``
reads it.
"""
from collections.abc import Sequence
from typing import Any, Optional

from mmengine.config import Config
from torch import nn

KEY = 'micronet_mm'
FORMAT = 1
Size = Optional[tuple[int, int]]


def task_of(cfg: Config) -> str:
    """'classification', 'detection' or 'keypoints', of a config of mmpretrain, mmdet or mmpose.

    Raises:
        ValueError: for any other.
    """
    tasks = dict(mmpretrain='classification', mmdet='detection', mmpose='keypoints')
    scope = cfg.get('default_scope')
    if scope not in tasks:
        raise ValueError(f'default_scope={scope!r} of the config is none of {sorted(tasks)}, whose models can be '
                         'exported.')
    return tasks[scope]


def describe(cfg: Config, task: str, model: nn.Module, size: Size, batch: Optional[int], inside: bool, version: str,
             raw: bool) -> dict[str, Any]:
    """The description of an exported model.

    Args:
        cfg: of the model.
        task: what it does, or 'features'.
        model: built from the config, with the checkpoint's classes in ``dataset_meta`` if it was trained by MMEngine.
        size: height and width that the file takes; None for any.
        batch: how many images it takes; None for any number.
        inside: whether the graph normalizes pixels.
        version: of this package.
        raw: whether decoding is left to who uses it.
    """
    mean, std, color = normalization(cfg)
    arch = cfg.model.get('backbone', {}).get('arch')
    found = dict(
        format=FORMAT, task=task, arch=arch if isinstance(arch, str) else None, version=version, raw=raw,
        input=dict(size=size, batch=batch, color=color, mean=mean, std=std,
                   normalization='inside' if inside else 'outside'))
    if task == 'features':
        return found
    meta = dataset_meta(cfg, model)
    steps = test_pipeline(cfg)
    if task == 'keypoints':
        names = [name for _, name in sorted(meta['keypoint_id2name'].items())]
        links = [[int(end) for end in link] for link in meta['skeleton_links']]
        padding = next(step.get('padding', 1.25) for step in steps if step['type'].endswith('GetBBoxCenterScale'))
        return dict(found, skeleton=dict(names=names, links=links), preprocess=dict(padding=padding))
    found['classes'] = list(meta.get('classes') or [])
    if task == 'classification':
        return dict(found, preprocess=[step for step in map(classification_step, steps) if step])
    test_cfg = model.test_cfg.get('rcnn', model.test_cfg)
    classes = found['classes']
    return dict(
        found, preprocess=detection_preprocess(cfg, steps, mean, std, inside),
        person=classes.index('person') if 'person' in classes else None,
        max_per_image=test_cfg.get('max_per_img', 100), score_threshold=test_cfg.get('score_thr', 0))


def normalization(cfg: Config) -> tuple[list[float], list[float], str]:
    """Mean, standard deviation and the order of channels that the model takes."""
    settings = {**(cfg.get('data_preprocessor') or {}), **(cfg.model.get('data_preprocessor') or {})}
    swaps = settings.get('to_rgb', False) or settings.get('bgr_to_rgb', False)
    mean, std = settings.get('mean') or [0.0] * 3, settings.get('std') or [1.0] * 3
    return list(mean), list(std), 'rgb' if swaps else 'bgr'


def dataset_meta(cfg: Config, model: nn.Module) -> dict[str, Any]:
    """Classes or skeleton: as the checkpoint has them, otherwise the config, otherwise the kind of dataset."""
    from mmengine.registry import DATASETS
    trained = getattr(model, 'dataset_meta', None) or {}
    dataset = cfg.get('test_dataloader', cfg.get('train_dataloader'))['dataset']
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        kind = registry.get(dataset['type'])
    known = dict(kind.METAINFO) if kind else {}
    given = {name: value for name, value in (dataset.get('metainfo') or {}).items() if value is not None}
    found = {**known, **given}
    if cfg.get('default_scope') == 'mmpose':
        from mmpose.datasets.datasets.utils import parse_pose_metainfo
        found = parse_pose_metainfo(given or known)
    return {**found, **{name.lower(): value for name, value in trained.items()}}


def test_pipeline(cfg: Config) -> Sequence[dict]:
    dataset = cfg.get('test_dataloader', cfg.get('train_dataloader'))['dataset']
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset['pipeline']


def classification_step(step: dict) -> Optional[dict]:
    """A transform of mmpretrain as a runtime without it does it; None for one that has nothing to do with pixels."""
    kind = step['type'].rpartition('.')[2]
    if kind == 'ResizeEdge' and step.get('edge', 'short') == 'short':
        return dict(resize_edge=step['scale'])
    if kind == 'CenterCrop':
        return dict(center_crop=pair(step['crop_size']))
    if kind == 'Resize' and not step.get('keep_ratio'):
        width, height = pair(step['scale'])
        return dict(resize=[height, width])
    if kind in ('LoadImageOrSkip', 'LoadImageFromFile', 'PackInputs'):
        return None
    raise ValueError(f'{kind} of the test pipeline is not known outside MMLab; ResizeEdge, Resize and CenterCrop are.')


def pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def detection_preprocess(cfg: Config, steps: Sequence[dict], mean: list[float], std: list[float],
                         inside: bool) -> dict[str, Any]:
    """How an image gets its size. ``pad_value`` is what the padding holds, in what the file is fed with."""
    settings = cfg.model.get('data_preprocessor') or {}
    found = dict(keep_ratio=True, divisor=settings.get('pad_size_divisor', 1))
    pad = list(mean) if inside else [0.0] * 3  # MMLab pads what is normalized
    for step in steps:
        kind = step['type'].rpartition('.')[2]
        if kind == 'Resize':
            found.update(scale=pair(step['scale']), keep_ratio=step.get('keep_ratio', False))
        elif kind == 'Pad' and step.get('size'):
            width, height = pair(step['size'])
            value = step.get('pad_val', 0)
            value = value.get('img', 0) if isinstance(value, dict) else value
            value = [float(v) for v in ([value] * 3 if isinstance(value, (int, float)) else value)]
            found.update(pad_to=[height, width])
            pad = value if inside else [(v - m) / s for v, m, s in zip(value, mean, std)]
    if 'scale' not in found:
        raise ValueError('the test pipeline has no Resize, so it is not known how large images come.')
    return dict(found, pad_value=pad)
