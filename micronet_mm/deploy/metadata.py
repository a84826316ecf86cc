"""What an exported file says of itself: all that a runtime has to know that has no config.

One entry of the file's metadata, ``micronet_mm``, holds as JSON what :func:`describe` returns. ``micronet_runtime``
reads it.
"""
from collections.abc import Sequence
from typing import Any, Optional

from mmengine.config import Config
from torch import nn

from micronet_mm.datasets.class_names import class_names, read_names
from micronet_mm.validation import shown

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
        raise ValueError(f'default_scope={shown(scope)} of the config is none of {sorted(tasks)}, whose models can be '
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
        padding = next((step.get('padding', 1.25) for step in steps if step['type'] == 'GetBBoxCenterScale'), None)
        if padding is None:
            raise ValueError('the test pipeline has no GetBBoxCenterScale; keypoint models of people in boxes can be '
                             'exported, top-down ones.')
        return dict(found, skeleton=dict(names=names, links=links), preprocess=dict(padding=padding))
    found['classes'] = [str(name) for name in read_names(meta.get('classes')) or ()]
    if task == 'classification':
        head = cfg.model.get('head') or {}
        if len(found['classes']) != head.get('num_classes', len(found['classes'])):
            found['classes'] = []  # those of another dataset
        return dict(found, preprocess=classification_steps(steps, size))
    test_cfg = model.test_cfg.get('rcnn', model.test_cfg)
    classes = found['classes']
    return dict(
        found, preprocess=detection_preprocess(cfg, steps, mean, std, inside),
        person=classes.index('person') if 'person' in classes else None,
        max_per_image=test_cfg.get('max_per_img', 100), score_threshold=test_cfg.get('score_thr', 0))


def preprocessor(cfg: Config) -> dict[str, Any]:
    """Settings of the data preprocessor: the model's, or the config's where the model has none."""
    return cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}


def normalization(cfg: Config) -> tuple[list[float], list[float], str]:
    """Mean, standard deviation and the order of channels that the model takes."""
    settings = preprocessor(cfg)
    swaps = settings.get('to_rgb', False) or settings.get('bgr_to_rgb', False)
    mean, std = settings.get('mean') or [0.0] * 3, settings.get('std') or [1.0] * 3
    if len(mean) != 3 or len(std) != 3:
        raise ValueError(f'the model takes images of {len(mean)} channels; those of 3 can be exported.')
    return list(mean), list(std), 'rgb' if swaps else 'bgr'


def dataset_of(cfg: Config) -> dict[str, Any]:
    """The dataset that the model is tested on, without wrappers; of several the first."""
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset')
        while dataset and 'pipeline' not in dataset and ('dataset' in dataset or 'datasets' in dataset):
            dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
        if dataset:
            return dataset
    raise ValueError('the config has no dataloader, so it is not known how images are prepared and what is in them.')


def dataset_meta(cfg: Config, model: nn.Module) -> dict[str, Any]:
    """Classes or skeleton: as the checkpoint has them, otherwise the config, otherwise the kind of dataset."""
    from mmengine.registry import DATASETS
    trained = getattr(model, 'dataset_meta', None) or {}
    dataset = dataset_of(cfg)
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        kind = registry.get(dataset['type'])
    known = dict(kind.METAINFO) if kind else {}
    given = {name: value for name, value in (dataset.get('metainfo') or {}).items() if value is not None}
    if names := class_names(dataset):  # of which a config may name a file
        given['classes'] = names
    found = {**known, **given}
    if cfg.get('default_scope') == 'mmpose':
        from mmpose.datasets.datasets.utils import parse_pose_metainfo
        found = parse_pose_metainfo(given or known)
    return {**found, **{name.lower(): value for name, value in trained.items()}}


def test_pipeline(cfg: Config) -> list[dict]:
    """The steps that have to do with pixels, their types without the name of their package.

    Raises:
        ValueError: if there are none that read images, or one that nobody outside MMLab can repeat.
    """
    steps = [{**step, 'type': step['type'].rpartition('.')[2]} for step in dataset_of(cfg).get('pipeline') or ()]
    if not any(step['type'].startswith('LoadImage') for step in steps):
        raise ValueError('the test pipeline does not begin with a step that loads images, so it is not known in which '
                         'order their channels come.')
    for step in steps:
        other = {name: step[name] for name, usual in (('backend', 'cv2'), ('interpolation', 'bilinear'))
                 if 'Resize' in step['type'] and step.get(name, usual) != usual}
        if other:
            raise ValueError(f'{step["type"]} of the test pipeline has {other}; only OpenCV\'s bilinear one is known '
                             'outside MMLab.')
    return [step for step in steps if not step['type'].startswith(('Load', 'Pack'))]


def classification_steps(steps: Sequence[dict], size: Size) -> list[dict]:
    """What a classifier's images go through, down to ``size`` if that is given and another one."""
    found = []
    for step in steps:
        kind = step['type']
        if kind == 'ResizeEdge' and step.get('edge', 'short') == 'short':
            found.append(dict(resize_edge=step['scale']))
        elif kind == 'CenterCrop' and not step.get('efficientnet_style'):
            width, height = pair(step['crop_size'])
            found.append(dict(center_crop=[height, width]))
        elif kind == 'Resize' and not step.get('keep_ratio') and step.get('scale'):
            width, height = pair(step['scale'])
            found.append(dict(resize=[height, width]))
        else:
            raise ValueError(f'{kind} of the test pipeline is not known outside MMLab; ResizeEdge, Resize to a scale '
                             'and CenterCrop are.')
    last = next(iter(found[-1].values())) if found else None
    return found if size is None or last == list(size) else [*found, dict(resize=list(size))]


def pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def detection_preprocess(cfg: Config, steps: Sequence[dict], mean: list[float], std: list[float],
                         inside: bool) -> dict[str, Any]:
    """How an image gets its size. ``pad_value`` is what the padding holds, in what the file is fed with."""
    settings = preprocessor(cfg)
    found: dict[str, Any] = dict(divisor=settings.get('pad_size_divisor', 1))
    filled = settings.get('pad_value', 0)  # MMLab pads what is normalized
    pad = [filled * s + m if inside else float(filled) for m, s in zip(mean, std)]
    for step in steps:
        kind = step['type']
        if kind == 'Resize' and step.get('scale'):
            found.update(scale=pair(step['scale']), keep_ratio=step.get('keep_ratio', False))
        elif kind == 'Pad':
            square = step.get('pad_to_square') and len(set(found.get('scale', (0, 1)))) == 1
            if step.get('size') or square:
                width, height = pair(step['size']) if step.get('size') else found['scale']
                found.update(pad_to=[height, width])
            elif step.get('size_divisor'):
                found.update(divisor=step['size_divisor'])
            else:
                raise ValueError('Pad of the test pipeline is not known outside MMLab but to a size, to the square of '
                                 'the Resize before it, or to a divisor.')
            value = step.get('pad_val', 0)
            value = value.get('img', 0) if isinstance(value, dict) else value
            value = [float(v) for v in ([value] * 3 if isinstance(value, (int, float)) else value)]
            value = value[::-1] if normalization(cfg)[2] == 'rgb' else value  # images are read as BGR
            pad = value if inside else [(v - m) / s for v, m, s in zip(value, mean, std)]
        elif kind != 'RandomFlip' or step.get('prob'):
            raise ValueError(f'{kind} of the test pipeline is not known outside MMLab; Resize to a scale and Pad are.')
    if 'scale' not in found:
        raise ValueError('the test pipeline has no Resize, so it is not known how large images come.')
    return dict(found, pad_value=pad)
