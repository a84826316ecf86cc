"""Run exported models on images, folders, videos or a camera, draw what they find, and write it as JSON."""
import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Optional

from .classifier import Classifier
from .detector import Detector, check_threshold
from .drawing import draw
from .errors import InputError
from .model import Model
from .people import PeopleAndPoses
from .pose import PoseEstimator
from .predictor import Predictor
from .results import Classification, Detections, Result
from .sources import list_inputs, read_inputs
from .writing import Drawings, json_list, make_folder, refuse_to_overwrite

USAGE = '''python -m micronet_runtime MODEL.onnx [POSE.onnx] SOURCE --out-dir FOLDER [options]
       python -m micronet_runtime MODEL.onnx [POSE.onnx] SOURCE --json FILE [options]
       python -m micronet_runtime MODEL.onnx ... --show-model'''


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser('python -m micronet_runtime', USAGE, __doc__)
    parser.add_argument('files', nargs='+', help='a model (an ONNX file or a plan), or a detector and a keypoint '
                                                 'model; then an image, a folder of images, a video or the address of '
                                                 'a stream')
    parser.add_argument('--out-dir', type=Path, metavar='FOLDER', help='where to draw, in files of the same names')
    parser.add_argument('--json', type=Path, metavar='FILE', help='where to write a list of what is found')
    parser.add_argument('--camera', action='store_true', help='SOURCE is the number of a camera; Ctrl-C ends it')
    parser.add_argument('--threads', type=int, metavar='N', help="by default ONNX Runtime's choice, of plans all")
    parser.add_argument('--batch-size', type=int, metavar='N', help='images at once (people, with two models)')
    parser.add_argument('--threshold', type=float, metavar='T', help='score above which a box counts (default: 0.3)')
    parser.add_argument('--keypoint-threshold', type=float, default=0.3, metavar='T',
                        help='score above which a keypoint is drawn (default: 0.3)')
    parser.add_argument('--show-model', action='store_true', help='only say what the models are')
    args = parser.parse_args(arguments)
    if not args.show_model and not 2 <= len(args.files) <= 3:
        parser.error(f'{" ".join(args.files)}: give one model or two, then a source')
    if not args.show_model and not (args.out_dir or args.json):
        parser.error('give --out-dir, --json or both')
    try:
        faults: list[str] = []
        print(show_models(args.files) if args.show_model else run(args, faults))
    except InputError as error:
        if os.environ.get('MICRONET_TRACEBACK', '0') not in ('', '0'):
            raise
        sys.exit(f'error: {error}')
    if faults:
        sys.exit(f'error: {"; ".join(faults)}. What was found before that is written.')


def show_models(paths: Sequence[str]) -> str:
    """What the models say about themselves."""
    return '\n\n'.join(f'{path}\n{Model(path).metadata.describe()}' for path in paths)


def run(args: argparse.Namespace, faults: list[str]) -> str:
    """Do it all; the line to print at the end. What went wrong without ending it is added to the faults."""
    *models, source = args.files
    source = camera(source) if args.camera else source
    inputs = list_inputs(source)
    read = [*models, *(each.given for each in inputs if isinstance(each.given, str))]
    check_threshold(args.keypoint_threshold, 'keypoint threshold')
    predictor = load(models, args)
    found, milliseconds = [], []
    with ExitStack() as files:
        if args.json:
            refuse_to_overwrite(args.json, *read)
            make_folder(args.json.parent)
            if args.json.is_dir():
                raise InputError(f'Output {args.json} is a folder; name a file.')
        drawings = files.enter_context(Drawings(args.out_dir, inputs, read)) if args.out_dir else None
        if drawings and args.json and args.json.resolve() in {path.resolve() for path in drawings.files}:
            raise InputError(f'{args.json} would be a drawing and the list; name another file.')
        items = files.enter_context(json_list(args.json))
        try:
            for frame, result, took in timed(predictor, read_inputs(inputs, source, faults)):
                found.append(count(result))
                milliseconds.append(took)
                if items:
                    items.add(result.to_dict())
                if drawings:
                    try:
                        drawings.add(frame, draw(frame.pixels, result, args.keypoint_threshold))
                    except InputError as error:
                        if not items:
                            raise
                        faults.append(str(error).partition(';')[0])  # the list goes on
                        drawings = None
        except KeyboardInterrupt:
            if not args.camera or not found:
                raise
    images = counted(len(found), 'image', 'images')
    names = ('box', 'boxes') if isinstance(predictor, Detector) else ('person', 'people')
    what = f'{images} classified' if isinstance(predictor, Classifier) else f'{counted(sum(found), *names)} in {images}'
    places = ', '.join([f'drawn in {args.out_dir}'] * bool(args.out_dir) + [f'listed in {args.json}'] * bool(args.json))
    return f'{what}, {median(milliseconds):.1f} ms per image (median), {places}'


def counted(number: int, one: str, many: str) -> str:
    return f'{number} {one if number == 1 else many}'


def camera(number: str) -> int:
    if not number.isdecimal():
        raise InputError(f'{number} is no number of a camera; give one from 0, or leave --camera out.')
    return int(number)


def load(models: Sequence[str], args: argparse.Namespace) -> Predictor:
    """What runs these models, by their tasks."""
    threshold = 0.3 if args.threshold is None else args.threshold
    if len(models) == 2:
        return PeopleAndPoses(*models, threshold=threshold, batch_size=args.batch_size, threads=args.threads)
    model = Model(models[0], args.threads)
    task = model.metadata.task
    if task == 'detection':
        return Detector(model, threshold=threshold, batch_size=args.batch_size)
    if task == 'features':
        raise InputError(f'{models[0]} gives features, which cannot be drawn; run it by micronet_runtime.Model.')
    if args.threshold is not None:
        raise InputError(f'--threshold is for boxes, and {models[0]} is a model for {task}; leave it out.')
    return {'classification': Classifier, 'keypoints': PoseEstimator}[task](model, batch_size=args.batch_size)


def timed(predictor: Predictor, frames: Iterator[Any]) -> Iterator[tuple[Any, Result, float]]:
    """Frames, their results, and the milliseconds that each took, reading and drawing not counted."""
    while group := list(islice(frames, predictor.batch)):
        start = time.perf_counter()
        results = list(predictor.predict(group))
        took = (time.perf_counter() - start) * 1000 / len(group)
        for frame, result in results:
            yield frame, result, took


def count(result: Result) -> int:
    if isinstance(result, Classification):
        return 1
    return len(result.boxes if isinstance(result, Detections) else result.people)


if __name__ == '__main__':
    main()
