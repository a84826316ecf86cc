"""The part of :mod:`.export` that is about plans: what they cannot be asked for, and the two files."""
import argparse
import platform
import tempfile
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config
from torch import Tensor, nn

from micronet_mm.checkpoint.atomic import refuse_to_overwrite, written_atomically
from micronet_mm.deploy.assemble import require_scores
from micronet_mm.deploy.comparison import compare_with
from micronet_mm.deploy.plan.exporting import LIBRARY, compare, library_file, to_plan
from micronet_mm.ops.compiled import BuildError
from micronet_runtime import Model


def check_plan(args: argparse.Namespace, cfg: Config, task: str, size: Optional[tuple[int, int]]) -> None:
    """Raise ValueError for what a plan cannot be."""
    for name, given, reason in (
            ('--int8', args.int8, 'a plan computes in float32, and --weights int8 stores it in 8 bits'),
            ('--open-size', args.open_size, 'a plan is for images of one size'),
            ('--open-batch', args.open_batch, 'a plan takes any number of images anyway'),
            (f'--batch {args.batch}', args.batch > 1, 'a plan takes any number of images anyway')):
        if given:
            raise ValueError(f'{name}: {reason}; leave it out, or export an ONNX file.')
    if size is None:
        raise ValueError('a plan is for images of one size, and the test pipeline leaves theirs open; give --size H W.')
    if task == 'detection' and cfg.model.get('roi_head'):
        raise ValueError('a plan has no step for the second stage of a detector; export an ONNX file.')
    refuse_to_overwrite(beside(args.out), cfg.filename, args.checkpoint, *filter(None, [args.image]))


def beside(plan: Path) -> Path:
    return plan.parent / LIBRARY


def prepare_for_plan(model: nn.Module, task: str, raw: bool) -> None:
    """Switch off, in place, what a plan does not do; raise ValueError if softmax does not make scores of logits."""
    if task == 'classification' and not raw:
        require_scores(model)
    if task == 'keypoints':
        model.test_cfg['flip_test'] = False


def write_plan(out: Path, task: str, whole: nn.Module, trained: nn.Module, decoded: Optional[nn.Module],
               description: dict[str, Any], inputs: list[Tensor], weights: str) -> str:
    """Compare a plan with the trained model and write it, and beside it what runs it; what is to be said of it.

    With fewer bits it is compared as float32 before, as closely as any other.

    Args:
        out: where to.
        task: of the model.
        whole: the model in deploy form, to what the plan ends at.
        trained: the form that trains, to the same.
        decoded: the form that trains, to what the runtime makes of that; None where it makes nothing.
        description: of the file.
        inputs: to compare on.
        weights: type of those of linear layers.
    """
    softmax = task == 'classification' and not description['raw']
    size = tuple(description['input']['size'])
    try:
        library = library_file().read_bytes()
        for kind in dict.fromkeys(('float32', weights)):
            content = to_plan(whole, size, description, softmax, kind)
            worst = compare(content, trained, inputs, kind)
            if decoded is not None and kind == 'float32':
                worst = max(worst, compare_in_runtime(content, library, decoded, inputs))
    except BuildError as error:
        raise ValueError(f'what runs plans cannot be compiled, so that none can be compared: {error}') from None
    for path, data in ((beside(out), library), (out, content)):  # a plan that is there has what runs it
        with written_atomically(path) as file:
            file.write(data)
    heatmaps = ', heatmaps without flip test' if task == 'keypoints' and description['raw'] else ''
    bits = '' if weights == 'float32' else f', weights of linear layers in {weights}'
    return (f'{out}: {task} for images of {size[0]} x {size[1]}{heatmaps}{bits}, {len(content) / 1e6:.1f} MB; it '
            f'equals PyTorch within {worst:.0e} of the largest value on {len(inputs)} inputs; {beside(out)} runs it '
            f'without PyTorch ({platform.system()}, {platform.machine()})')


def compare_in_runtime(content: bytes, library: bytes, decoded: nn.Module, inputs: list[Tensor]) -> float:
    """How far what the runtime finds is from PyTorch, as :func:`micronet_mm.deploy.comparison.compare_with` says."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / 'model.plan'
        plan.write_bytes(content)
        beside(plan).write_bytes(library)
        session = Model(plan, threads=1).session
    return compare_with('the plan', lambda feed: session.run(None, feed), decoded, inputs)
