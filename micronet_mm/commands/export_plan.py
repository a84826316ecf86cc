"""The part of :mod:`.export` that is about plans: what they cannot be asked for, and the two files."""
import argparse
import platform
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config
from torch import Tensor, nn

from micronet_mm.checkpoint.atomic import make_folder_of, refuse_to_overwrite, written_atomically
from micronet_mm.deploy.assemble import require_scores
from micronet_mm.deploy.plan.exporting import LIBRARY, compare, library_file, to_plan
from micronet_mm.ops.compiled import BuildError


def check_plan(args: argparse.Namespace, cfg: Config, task: str, size: Optional[tuple[int, int]]) -> None:
    """Make the folder of a plan; raise ValueError for what a plan cannot be."""
    for name, given, reason in (
            ('--int8', args.int8, 'a plan computes in float32'),
            ('--open-size', args.open_size, 'a plan is for images of one size'),
            ('--open-batch', args.open_batch, 'a plan takes any number of images anyway'),
            (f'--batch {args.batch}', args.batch > 1, 'a plan takes any number of images anyway')):
        if given:
            raise ValueError(f'{name}: {reason}; leave it out, or export an ONNX file.')
    if size is None:
        raise ValueError('a plan is for images of one size, and the test pipeline leaves theirs open; give --size H W.')
    if task == 'keypoints' and not args.raw:
        raise ValueError('a plan has neither decoding nor the flip test of keypoints; export heatmaps (without flip '
                         'test) with --raw, or an ONNX file.')
    if task == 'detection' and cfg.model.get('roi_head'):
        raise ValueError('a plan has no step for the second stage of a detector; export an ONNX file.')
    if task == 'detection' and not args.raw:
        raise ValueError('a plan has no decoding of boxes; export the maps of the head with --raw, or an ONNX file.')
    refuse_to_overwrite(beside(args.out), cfg.filename, args.checkpoint, *filter(None, [args.image]))
    make_folder_of(beside(args.out))


def beside(plan: Path) -> Path:
    return plan.parent / LIBRARY


def prepare_for_plan(model: nn.Module, task: str, raw: bool) -> None:
    """Switch off, in place, what a plan does not do; raise ValueError if softmax does not make scores of logits."""
    if task == 'classification' and not raw:
        require_scores(model)
    if task == 'keypoints':
        model.test_cfg['flip_test'] = False


def write_plan(out: Path, task: str, whole: nn.Module, trained: nn.Module, description: dict[str, Any],
               inputs: list[Tensor]) -> str:
    """Compare a plan with the trained model and write it, and beside it what runs it; what is to be said of it."""
    softmax = task == 'classification' and not description['raw']
    size = tuple(description['input']['size'])
    try:
        library = library_file().read_bytes()
        content = to_plan(whole, size, description, softmax)
        worst = compare(content, trained, inputs)
    except BuildError as error:
        raise ValueError(f'what runs plans cannot be compiled, so that none can be compared: {error}') from None
    for path, data in ((beside(out), library), (out, content)):  # a plan that is there has what runs it
        with written_atomically(path) as file:
            file.write(data)
    heatmaps = ', heatmaps without flip test' if task == 'keypoints' else ''
    return (f'{out}: {task} for images of {size[0]} x {size[1]}{heatmaps}, {len(content) / 1e6:.1f} MB; it equals '
            f'PyTorch within {worst:.0e} of the largest value on {len(inputs)} inputs; {beside(out)} runs it without '
            f'PyTorch ({platform.system()}, {platform.machine()})')
