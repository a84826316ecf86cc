#!/usr/bin/env python
"""How long exported files take for an image, from its pixels to what is found: ONNX files and plans beside each other.

All take turns within one run, in short bursts of random order. Reading and drawing is not counted; of keypoint models
the whole image is one person.
"""
import argparse
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import _process  # noqa: F401
import numpy as np

from micronet_mm.engine.cli import one_line_errors
from micronet_mm.latency.timing import measure, median_ms
from micronet_mm.latency.variants import Contender
from micronet_mm.validation import COUNT
from micronet_runtime import Classifier, Detector, Frame, InputError, Model, PoseEstimator, read

PREDICTORS = dict(classification=Classifier, detection=Detector, keypoints=PoseEstimator)
MOST = 100  # images that are looked at


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('models', nargs='+', type=Path, metavar='MODEL', help='what tools/export.py wrote')
    parser.add_argument('source', help='an image or a folder of images')
    parser.add_argument('--rounds', type=COUNT, default=20, help='bursts of each (default: 20)')
    parser.add_argument('--threads', type=COUNT, default=1, help='default: 1')
    return parser.parse_args()


def runs(path: Path, threads: int, frames: list[Frame]) -> Callable[[], list]:
    """What finds something in one image after the other.

    Raises:
        InputError: if the file is not for one of the tasks.
    """
    model = Model(path, threads)
    if model.metadata.task not in PREDICTORS:
        raise InputError(f'{path} is a model for {model.metadata.task}; name one for {", ".join(PREDICTORS)}.')
    predictor, images = PREDICTORS[model.metadata.task](model), cycle(frames)
    return lambda: list(predictor.predict([next(images)]))


def report(contenders: list[Contender]) -> str:
    """A line for each, with its time over that of the first."""
    first = median_ms(contenders[0])
    return '\n'.join(['| file | median ms | quartiles | of the first |', '| --- | --- | --- | --- |', *(
        f'| {each.network} | {median_ms(each):.2f} | {low * 1000:.2f} to {high * 1000:.2f} | '
        f'{median_ms(each) / first:.2f}x |' for each in contenders
        for low, high in [np.quantile(each.times, (0.25, 0.75))])])


def main() -> None:
    args = parse_args()
    with one_line_errors():
        frames = list(islice(read(args.source), MOST))
        contenders = [Contender(str(path), 'runtime', runs(path, args.threads, frames)) for path in args.models]
        measure(contenders, args.rounds, args.threads)
        print(report(contenders))


if __name__ == '__main__':
    main()
