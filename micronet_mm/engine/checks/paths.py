"""Look for the files that a config names before anything is built from it."""
import inspect
import os.path as osp
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Optional, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.utils import get_installed_path

DATA_ADVICE = ("Download the dataset or link it there, or name another place with --cfg-options "
               "{loader}.dataset.data_root=... (see docs/datasets.md).")
PEOPLE_ADVICE = ('It holds the people that a detector found (see docs/keypoints.md): name another one with '
                 '--cfg-options {loader}.dataset.bbox_file=..., or None there to take the annotated boxes.')


def check_files(cfg: Config, loaders: Sequence[str], evaluators: Sequence[str]) -> None:
    """Raise for the first dataset, annotation or checkpoint of ``cfg`` that is not on disk.

    Remote paths (with ``://``) are left to MMEngine.

    Args:
        cfg: a full config.
        loaders: dataloaders that will be used, for example ``['train_dataloader']``.
        evaluators: evaluators that will be used.

    Raises:
        FileNotFoundError: one line that says what is missing, who wants it, and what to do.
    """
    for loader in loaders:
        for dataset in find_dicts((cfg.get(loader) or {}).get('dataset'), 'type'):
            for path in dataset_paths(dataset):
                if not downloads_itself(dataset, cfg.get('default_scope')):
                    require(path, f'the dataset of {loader}', DATA_ADVICE.format(loader=loader))
            require(dataset.get('bbox_file'), f'the dataset of {loader}', PEOPLE_ADVICE.format(loader=loader))
            described = (dataset.get('metainfo') or {}).get('from_file')
            if described and not is_shipped(described):
                require(described, f'the dataset of {loader}', "It describes the keypoints: see 'Keypoints' in "
                        'docs/own_data.md, and name it from where the tool is started.')
    for evaluator in evaluators:
        for metric in find_dicts(cfg.get(evaluator), 'ann_file'):
            require(metric['ann_file'], evaluator, f'Correct it with --cfg-options {evaluator}.ann_file=...')
    for init in find_dicts(cfg.get('model'), 'checkpoint'):
        if init.get('type') == 'Pretrained':
            require(
                init['checkpoint'], 'the initialization (init_cfg) of the model',
                'Convert the released weights with micronet-mm convert, name another file, or see '
                "'From scratch' in docs/training.md.")


def find_dicts(node: Any, key: str) -> Iterator[Mapping]:
    """Every dict with ``key`` in it, in ``node`` and below, outermost first."""
    if isinstance(node, Mapping):
        if key in node:
            yield node
        for child in node.values():
            yield from find_dicts(child, key)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from find_dicts(child, key)


def dataset_paths(dataset: Mapping) -> Iterator[str]:
    """What a dataset reads, joined to its root as MMEngine's BaseDataset does."""
    root = dataset.get('data_root') or ''
    if root:
        yield root
    for key in ('ann_file', 'proposal_file'):
        if dataset.get(key):
            yield osp.join(root, dataset[key])
    prefixes = dataset.get('data_prefix') or {}
    for prefix in prefixes.values() if isinstance(prefixes, Mapping) else [prefixes]:
        if prefix:
            yield osp.join(root, prefix)


def is_shipped(description: str) -> bool:
    """Whether mmpose brings a description of keypoints by this name, in whose place it is taken then."""
    return find_spec('mmpose') is not None and osp.exists(osp.join(
        get_installed_path('mmpose'), '.mim', 'configs', '_base_', 'datasets', osp.basename(description)))


def downloads_itself(dataset: Mapping, scope: Optional[str]) -> bool:
    """Whether the dataset fetches its files, as mmpretrain's small ones do unless told ``download=False``."""
    with DATASETS.switch_scope_and_registry(scope) as registry:
        kind = registry.get(dataset['type'])
    return kind is not None and 'download' in inspect.signature(kind).parameters and dataset.get('download', True)


def is_missing(path: Optional[str]) -> bool:
    """Whether ``path`` is local and nothing is there."""
    return bool(path) and '://' not in str(path) and not osp.exists(path)


def require(path: Optional[str], owner: str, advice: str) -> None:
    """Raise if ``path`` is missing."""
    if is_missing(path):
        raise FileNotFoundError(f'{path} does not exist, which {owner} needs. {advice}')
