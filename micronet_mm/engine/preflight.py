"""Look for the files that a config names before anything is built from it."""
import os.path as osp
from collections.abc import Iterator, Mapping
from typing import Any, Optional, Sequence

from mmengine.config import Config

DATA_ADVICE = ("Download the dataset or link it there, or name another place with --cfg-options "
               "{loader}.dataset.data_root=... (see 'Datasets' in README.md).")


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
                require(path, f'the dataset of {loader}', DATA_ADVICE.format(loader=loader))
    for evaluator in evaluators:
        for metric in find_dicts(cfg.get(evaluator), 'ann_file'):
            require(metric['ann_file'], evaluator, f'Correct it with --cfg-options {evaluator}.ann_file=...')
    for init in find_dicts(cfg.get('model'), 'checkpoint'):
        if init.get('type') == 'Pretrained':
            require(
                init['checkpoint'], 'the initialization (init_cfg) of the model',
                'Convert the released weights with tools/convert_checkpoint.py, name another file, or train from '
                "scratch with --cfg-options model.backbone.init_cfg=None.")
    if cfg.get('load_from'):
        require(cfg.load_from, 'load_from', 'Name an existing checkpoint.')


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
    if dataset.get('ann_file'):
        yield osp.join(root, dataset['ann_file'])
    prefixes = dataset.get('data_prefix') or {}
    for prefix in prefixes.values() if isinstance(prefixes, Mapping) else [prefixes]:
        if prefix:
            yield osp.join(root, prefix)


def require(path: Optional[str], owner: str, advice: str) -> None:
    """Raise unless the local ``path`` exists."""
    if path and '://' not in str(path) and not osp.exists(path):
        raise FileNotFoundError(f'{path} does not exist, which {owner} needs. {advice}')
