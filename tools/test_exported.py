#!/usr/bin/env python
"""Evaluate an exported file through micronet_runtime with the test set and metrics of a config, as tools/test.py
evaluates a checkpoint."""
import argparse
import json
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.checkpoint.atomic import make_folder_of, refuse_to_overwrite, write_text_atomically
from micronet_mm.deploy.metadata import task_of
from micronet_mm.engine.checks.data import check_data
from micronet_mm.engine.checks.paths import check_files
from micronet_mm.engine.cli import config_parser, load_config, one_line_errors
from micronet_mm.engine.exported import evaluate
from micronet_runtime import Classifier, Detector, Frame, PoseEstimator
from micronet_runtime.sources import load

PREDICTORS = dict(classification=Classifier, detection=Detector, keypoints=PoseEstimator)


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('model', type=Path, metavar='MODEL', help='what tools/export.py wrote, an ONNX file or a plan')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the metrics there')
    parser.add_argument('--threads', type=int, metavar='N', help="by default ONNX Runtime's choice, of plans all")
    parser.add_argument('--work-dir', help='folder for what is added to annotations (default: work_dirs/<config name>)')
    parser.set_defaults(launcher='none', local_rank=0)
    with one_line_errors():
        print(test(parser.parse_args()))


def test(args: argparse.Namespace) -> str:
    cfg = load_config(args)
    cfg.model = {}  # its weights are in the file
    for check in (check_files, check_data):
        check(cfg, ['test_dataloader'], ['test_evaluator'])
    task = task_of(cfg)
    predictor = PREDICTORS[task](args.model, threads=args.threads)
    if args.json:
        refuse_to_overwrite(args.json, args.config, args.model)
        make_folder_of(args.json)
    metrics = {name: float(value) for name, value in evaluate(
        cfg, task, predictor, lambda path: Frame(path, None, load(path))).items()}
    if args.json:
        write_text_atomically(json.dumps(metrics, indent=1), args.json)
    return ', '.join(f'{name} {value:.4g}' for name, value in metrics.items())


if __name__ == '__main__':
    main()
