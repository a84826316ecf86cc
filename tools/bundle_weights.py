#!/usr/bin/env python
"""Add the weights of a finished training to micronet_mm/weights: a file in half precision, and a row of the table.

The accuracy in the table is that of the written file, on the test set of the config.
"""
import argparse
import json
from dataclasses import asdict
from pathlib import Path

import _process  # noqa: F401
import torch

from micronet_mm.bundled_configs import shipped
from micronet_mm.checkpoint import check_fits
from micronet_mm.checkpoint.atomic import write_text_atomically
from micronet_mm.checkpoint.bundled import FOLDER, SCHEME, TABLE, BundledWeights, bundled_weights
from micronet_mm.checkpoint.reading import read_checkpoint
from micronet_mm.checkpoint.weights import write_weights
from micronet_mm.commands.trained import untrained_model
from micronet_mm.engine.cli import build_runner, load_config, one_line_errors, read_config
from micronet_mm.validation import COUNT

LICENSES = {'Tiny-ImageNet': "ImageNet's terms of access: research and education, not commercial"}


def half_precision(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors in float16.

    Raises:
        ValueError: if a value is too large for it.
    """
    halves = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    for name, value in halves.items():
        if not value.isfinite().all():
            raise ValueError(f'{name} has values that are too large for float16.')
    return halves


def add(args: argparse.Namespace) -> BundledWeights:
    """Write the file and the row; return the row."""
    cfg = read_config(args.config)
    check_fits(untrained_model(cfg), args.checkpoint)
    content = read_checkpoint(args.checkpoint)
    meta = content['meta']
    name = f'micronet_{cfg.model.backbone.arch}.{args.tag}'
    file = FOLDER / f'{name.replace(".", "_")}.safetensors'
    described = dict(name=name, dataset=args.dataset, dataset_meta=dict(meta.get('dataset_meta') or {}))
    sha256 = write_weights(half_precision(content['state_dict']), described, file)
    config = Path(cfg.filename).resolve().relative_to(shipped('configs').resolve()).as_posix()
    row = BundledWeights(
        name=name, file=file.name, sha256=sha256, arch=cfg.model.backbone.arch, dataset=args.dataset,
        license=LICENSES[args.dataset], num_classes=cfg.model.head.num_classes, input_size=(3, args.size, args.size),
        mean=tuple(cfg.data_preprocessor.mean), std=tuple(cfg.data_preprocessor.std), epochs=meta['epoch'], top1=0,
        top5=0, config=config, command=f'micronet-mm train {config.removesuffix(".py")}', commit=args.commit)
    write_row(row)
    accuracy = evaluate(args.config, SCHEME + name)
    row = BundledWeights(**asdict(row) | {key: round(accuracy[f'accuracy/{key}'], 2) for key in ('top1', 'top5')})
    write_row(row)
    return row


def write_row(row: BundledWeights) -> None:
    """Add a row to the table, or replace the row of the same name."""
    rows = dict(bundled_weights()) | {row.name: row}
    text = json.dumps([asdict(rows[name]) for name in sorted(rows)], indent=1)
    write_text_atomically(text + '\n', FOLDER / TABLE)
    bundled_weights.cache_clear()


def evaluate(config: str, checkpoint: str) -> dict[str, float]:
    """Return the metrics of a checkpoint on the test set of a config."""
    cfg = load_config(argparse.Namespace(config=config, cfg_options=None, launcher='none', local_rank=0,
                                         work_dir='work_dirs/bundle'))
    cfg.load_from = checkpoint
    return build_runner(cfg).test()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the training, below configs/')
    parser.add_argument('checkpoint', help='checkpoint of its last epoch')
    parser.add_argument('--tag', default='tiny_imagenet', help='data set, as it is part of the name')
    parser.add_argument('--dataset', default='Tiny-ImageNet', choices=LICENSES, help='data set, for the table')
    parser.add_argument('--size', type=COUNT, default=128, help='side of the images at validation')
    parser.add_argument('--commit', required=True, help='commit of this repository at which the training ran')
    args = parser.parse_args()
    with one_line_errors():
        row = add(args)
    print(f'{row.name}: {row.file}, top-1 {row.top1} %, top-5 {row.top5} %')


if __name__ == '__main__':
    main()
