"""Write a model as one ONNX file that says what it is and runs without MMLab and PyTorch.

Classifiers, detectors and keypoint models of any config; normalization, decoding and suppression are in the graph, in
operators of ONNX (opset 17) alone. The file appears when ONNX Runtime has given what PyTorch gives on random and real
input, at the exported size and, where the size is open, at others.

A name that ends in .plan makes a plan of a MicroNet instead, for the shared library that is written beside it: images
of one size in float32; keypoints and boxes are decoded by the runtime (docs/runtime.md).
"""
import argparse
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Optional

from torch import Tensor, nn

from micronet_mm import __version__
from micronet_mm.analysis.from_config import madds
from micronet_mm.checkpoint.atomic import make_folder_of, refuse_to_overwrite, written_atomically
from micronet_mm.checkpoint.safe_globals import allow_named
from micronet_mm.deploy import metadata as contract
from micronet_mm.deploy.assemble import assemble, default_size
from micronet_mm.deploy.decoding import describe_decoding
from micronet_mm.deploy.parity_inputs import examples, real_image
from micronet_mm.deploy.plan.linear import WEIGHTS
from micronet_mm.engine.checks.paths import require
from micronet_mm.engine.cli import config_parser, one_line_errors, read_config

from .export_plan import beside, check_plan, prepare_for_plan, write_plan
from .trained import load_trained, untrained_model


def parse_args(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', type=Path, metavar='OUT', help='OUT.onnx or OUT.plan')
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'),
                        help="of the images; by default the test pipeline's, and any where that leaves it open")
    parser.add_argument('--open-size', action='store_true', help='take images of any size')
    parser.add_argument('--batch', type=int, default=1, help='number of images at a time (default: 1)')
    parser.add_argument('--open-batch', action='store_true', help='take any number of images at a time')
    parser.add_argument('--backbone', action='store_true', help='the backbone alone: its feature maps')
    parser.add_argument('--raw', action='store_true', help='logits, maps or heatmaps, not decoded')
    parser.add_argument('--normalized', action='store_true',
                        help='take images that are normalized already; by default pixels from 0 to 255')
    parser.add_argument('--image', help='a real image to compare on; by default a drawn one')
    parser.add_argument('--int8', type=Path, metavar='FOLDER',
                        help='quantize to 8 bits, calibrated on the images in a folder (docs/int8.md)')
    parser.add_argument('--weights', choices=WEIGHTS,
                        help='type of the weights of linear layers in a plan (default: float32)')
    args = parser.parse_args(arguments)
    if args.int8 and (args.raw or args.backbone):
        parser.error('--int8: images are prepared, and results compared, for models with their decoding alone; leave '
                     '--raw and --backbone out')
    if args.size and min(args.size) < 32:
        parser.error(f'--size {args.size[0]} {args.size[1]}: height and width are at least 32')
    if args.batch < 1:
        parser.error(f'--batch {args.batch}: at least 1 image')
    return args


def export(args: argparse.Namespace) -> str:
    """Write the file; returns what is to be said of it."""
    plan = args.out.suffix == '.plan'
    if args.out.suffix != '.onnx' and not plan:
        raise ValueError(f'{args.out} is to be an ONNX file; name one that ends in .onnx, or in .plan to get a plan.')
    if args.weights and not plan:
        raise ValueError(f'--weights {args.weights}: of plans alone, and {args.out} is to be an ONNX file; leave it '
                         'out, name a file that ends in .plan, or give --int8 FOLDER.')
    cfg = read_config(args.config, args.cfg_options)
    allow_named(cfg.get('safe_globals') or [])
    refuse_to_overwrite(args.out, cfg.filename, args.checkpoint)
    require(args.checkpoint, 'the export', 'Name an existing checkpoint.')
    task = 'features' if args.backbone else contract.task_of(cfg)
    size = tuple(args.size) if args.size else default_size(cfg)
    if plan:
        check_plan(args, cfg, task, size)
    open_size = args.open_size or size is None
    if task == 'detection' and not args.raw and args.open_batch:
        raise ValueError('--open-batch: boxes are suppressed image by image, so the number of images is part of the '
                         'graph; give --batch N, or --raw.')
    if task == 'keypoints' and not args.raw and args.open_size:
        raise ValueError('--open-size: crops of people have the size that the codec decodes; leave it out, or give '
                         '--raw.')
    if args.batch > 1 and cfg.model.get('roi_head'):
        raise ValueError(f'--batch {args.batch}: a detector of two stages is exported for one image at a time.')
    if args.int8:
        from .calibration import calibration_images  # here, since onnx and its runtime may be missing
        calibration_images(args.int8)  # so that a mistake shows at once
    real = real_image(args.image)
    model = untrained_model(cfg)
    decodes = plan and not args.raw and task in ('keypoints', 'detection')
    decoding = dict(decoding=describe_decoding(cfg, task, model)) if decodes else {}
    for file in (args.out, beside(args.out)) if plan else (args.out, ):
        make_folder_of(file)
    load_trained(model, args.checkpoint)
    open_batch = plan or args.open_batch
    description = contract.describe(
        cfg, task, model, None if open_size else size, None if open_batch else args.batch, not args.normalized,
        __version__, args.raw) | decoding
    description['madds'] = madds(cfg, description, size)
    decoded = assemble(cfg, task, deepcopy(model), False, not args.normalized, deploy=False) if decodes else None
    if plan:
        prepare_for_plan(model, task, args.raw)
    raw = plan or args.raw
    trained = assemble(cfg, task, deepcopy(model), raw, not args.normalized, deploy=False)
    whole = assemble(cfg, task, model, raw, not args.normalized)
    size = size or (320, 320)
    inputs = examples(real, description, size, args.batch, open_size, open_batch)
    if plan:
        return write_plan(args.out, task, whole, trained, decoded, description, inputs, args.weights or 'float32')
    return write_onnx(args, whole, trained, description, inputs, size, open_size)


def write_onnx(args: argparse.Namespace, whole: nn.Module, trained: nn.Module, description: dict[str, Any],
               inputs: list[Tensor], size: tuple[int, int], open_size: bool) -> str:
    """Compare an ONNX file with the trained model and write it; what is to be said of it."""
    from micronet_mm.deploy.export import compare, label, to_onnx
    graph = to_onnx(whole, size, args.batch, open_size, args.open_batch)
    label(graph, description)
    content = graph.SerializeToString()
    worst = compare(content, trained, inputs)
    said = (f'{args.out}: {description["task"]} of {len(graph.graph.node)} nodes, {len(content) / 1e6:.1f} MB; ONNX '
            f'Runtime equals PyTorch within {worst:.0e} of the largest value on {len(inputs)} inputs')
    if args.int8:
        from .calibration import calibration_images, to_int8
        content, more = to_int8(content, args.int8, calibration_images(args.int8))
        said = f'{said}\n{more}'
    with written_atomically(args.out) as file:
        file.write(content)
    return said


def main() -> None:
    args = parse_args()
    with one_line_errors():
        if args.out.suffix == '.onnx':
            import micronet_mm.deploy.export  # noqa: F401  which says what to install where onnx is missing
        print(export(args))
