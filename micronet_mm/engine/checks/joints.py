"""Whether a description of keypoints, mmpose's ``dataset_info``, is complete and fits head and metric."""
import logging
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError
from mmengine.logging import print_log
from mmengine.utils import get_installed_path

from .paths import find_dicts, is_shipped

KEYS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')


def description(dataset: Mapping, kind: Optional[type]) -> tuple[Optional[Mapping], str, bool]:
    """A dataset's ``dataset_info``, where it is written, and whether the user wrote it.

    Raises:
        ValueError: if the file cannot be read, or has none.
    """
    metainfo = dataset.get('metainfo')
    given = metainfo or getattr(kind, 'METAINFO', None) or {}
    path = given.get('from_file') if isinstance(given, Mapping) else None
    if not path:
        return (given, 'metainfo', bool(metainfo)) if 'keypoint_info' in given else (None, '', False)
    is_own = osp.isfile(path)
    if not is_own:
        if not is_shipped(path):
            return None, '', False
        path = osp.join(get_installed_path('mmpose'), '.mim', 'configs', '_base_', 'datasets', osp.basename(path))
    try:
        found = Config.fromfile(path).get('dataset_info')
    except (SyntaxError, ConfigParsingError, NameError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path} cannot be read: {" ".join(str(error).split())}') from None
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} has no dataset_info: see 'Keypoints' in docs/own_data.md.")
    return found, str(path), is_own and not Path(path).resolve().is_relative_to(get_installed_path('mmpose'))


def number_of_joints(dataset: Mapping, kind: Optional[type]) -> Optional[int]:
    """How many keypoints are described; None if that is not known."""
    found, *_ = description(dataset, kind)
    points = (found or {}).get('keypoint_info')
    return len(points) if isinstance(points, Mapping) else None


def names_of(info: Mapping) -> list:
    return [point.get('name') for point in info['keypoint_info'].values()]


def check_joints(cfg: Config, described: Mapping[str, Sequence[tuple[Mapping, type]]],
                 evaluators: Sequence[str]) -> None:
    """Raise unless keypoint descriptions are complete and agree between dataloaders and with the head.

    Args:
        cfg: a full config.
        described: dataloader -> its datasets of keypoints, each with its class.
        evaluators: evaluators that will be used.
    """
    named: dict[str, list] = {}
    for loader, datasets in described.items():
        for dataset, kind in datasets:
            info, place, is_own = description(dataset, kind)
            if info is None:
                continue
            if is_own:
                for fault in faults(info):
                    raise ValueError(f'{place}: {fault}')
                warn_of_weights(info, place)
            if evaluates_keypoints(cfg, evaluators) and not len(info['sigmas']):
                raise ValueError(f'{place}: sigmas is empty, and CocoMetric needs one for each keypoint: write '
                                 f'sigmas=[0.05] * {len(info["keypoint_info"])}, or how exact each has to be.')
            converts = any(step['type'] == 'KeypointConverter' for step in find_dicts(cfg.get(loader), 'type'))
            if not converts and len(datasets) == 1:
                named[loader] = names_of(info)
                check_head(cfg, loader, len(info['keypoint_info']))
    for loader, names in named.items():
        first, others = next(iter(named.items()))
        if names != others:
            raise ValueError(f'{loader} and {first} have different keypoints ({len(names)} and {len(others)}): give '
                             'both the same metainfo=dict(from_file=...).')


def faults(info: Mapping) -> Iterator[str]:
    """Yield the faults of a description, the most basic first."""
    for key in KEYS:
        if key not in info:
            yield f'dataset_info has no {key!r}; add it, as docs/own_data.md does.'
    points, names = info['keypoint_info'], names_of(info)
    if list(points) != list(range(len(points))):
        yield f'keypoint_info has the keys {list(points)}; number its keypoints from 0 to {len(points) - 1}, in order.'
    for name in names:
        if not isinstance(name, str) or names.count(name) > 1:
            yield f'{names.count(name)} keypoints have the name {name!r}; give each keypoint its own name.'
    swaps = {point['name']: point.get('swap') or point['name'] for point in points.values()}
    for name, other in swaps.items():
        if other not in swaps:
            yield f'swap={other!r} of the keypoint {name!r} is none of its keypoints{guess(other, names)}'
        if swaps[other] != name:
            partner = '' if swaps[other] == other else swaps[other]
            yield (f'the keypoint {name!r} has swap={other!r}, but {other!r} has swap={partner!r}: a flip exchanges '
                   'both; give each the name of the other.')
    for index, link in info['skeleton_info'].items():
        ends = link.get('link') or ()
        if len(ends) != 2:
            yield f'skeleton_info[{index}].link is {ends!r}; name two keypoints.'
        for end in ends:
            if end not in names:
                yield f'skeleton_info[{index}].link names {end!r}, which is none of its keypoints{guess(end, names)}'
    sigmas = list(info['sigmas'])
    if sigmas and len(sigmas) != len(points):
        yield f'sigmas has {len(sigmas)} numbers, but there are {len(points)} keypoints; give one for each.'
    if not all(isinstance(value, (int, float)) and value > 0 for value in sigmas):
        yield f'sigmas is {sigmas}; each must be a number above 0.'


def warn_of_weights(info: Mapping, place: str) -> None:
    weights, points = len(info['joint_weights']), len(info['keypoint_info'])
    if weights != points:
        print_log(f'{place}: joint_weights has {weights} numbers, but there are {points} keypoints: a head or codec '
                  'that weighs keypoints fails; give one for each.', 'current', logging.WARNING)


def guess(name: Any, names: Sequence[str]) -> str:
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f'; did you mean {near[0]!r}?' if near else '; correct it.'


def evaluates_keypoints(cfg: Config, evaluators: Sequence[str]) -> bool:
    return any('CocoMetric' in str(metric['type'])
               for name in evaluators for metric in find_dicts(cfg.get(name), 'type'))


def check_head(cfg: Config, loader: str, points: int) -> None:
    """Raise unless a head of heatmaps, one for each keypoint, has as many outputs as there are keypoints."""
    head = cfg.get('model', {}).get('head')
    decoder = head.get('decoder') if isinstance(head, Mapping) else None
    if isinstance(decoder, Mapping) and decoder.get('type') == 'MSRAHeatmap' and 'HeatmapHead' in str(head.get('type')):
        given = head.get('out_channels')
        if isinstance(given, int) and given != points:
            raise ValueError(f'the dataset of {loader} has {points} keypoints by its metainfo, but the head finds '
                             f'{given}: set model.head.out_channels={points}.')
