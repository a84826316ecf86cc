"""What ``make demo-web`` serves: the models of this repository's demos, exported, and pictures for them."""
import hashlib
import sys
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn
from torch.optim.swa_utils import update_bn

from micronet_mm.analysis.from_config import build_model
from micronet_mm.checkpoint.atomic import make_folder, save_atomically, written_atomically
from micronet_mm.checkpoint.newest import newest_good_checkpoint
from micronet_mm.commands.export import export, parse_args
from micronet_mm.datasets.figures import draw_scene
from micronet_mm.deploy.assemble import default_size
from micronet_mm.deploy.metadata import normalization, pair, task_of, test_pipeline
from micronet_mm.engine.cli import read_config
from micronet_web import Offer
from micronet_web.models import ONNX, PLAN, PYTORCH

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'demo'
# Config -> where its demo trains, how that is made, and whether it is served untrained.
DEMOS = {
    'micro_det_m3_demo': ('demo-micro', True),
    'retinanet_micronet_m3_demo': ('demo', False),  # the first is smaller
    'keypoint_micronet_m0_demo': ('demo-pose', True),
    'imagenet_micronet_m0_digits': ('demo-cls', True),
}


def demo_models(work_dirs: Path, folder: Path) -> list[Offer]:
    """The demos' models, with the weights that ``make demo`` and so on trained, or random ones.

    Args:
        work_dirs: where the demos were trained.
        folder: where exported files are kept, each until its config or checkpoint is another one.
    """
    make_folder(folder)
    MMLogger.get_current_instance().setLevel('WARNING')  # one line a model is enough
    offers = []
    for name, (work_dir, always) in DEMOS.items():
        config = CONFIGS / f'{name}.py'
        checkpoint = newest_good_checkpoint(work_dirs / work_dir) if (work_dirs / work_dir).is_dir() else None
        if checkpoint or always:
            offers.append(offer(config, checkpoint, folder))
            print(f'{name}: {checkpoint or f"random weights; make {work_dir} trains it"}')
    return offers


def offer(config: Path, checkpoint: Optional[str], folder: Path) -> Offer:
    """A model as an ONNX file, as a plan, and as what both are exported from: a checkpoint or random weights."""
    cfg = read_config(str(config))
    text, task = cfg.pretty_text, task_of(cfg)  # before it is built from, which changes it
    sizes = {ONNX: [], PLAN: one_size(cfg)}
    note, stem = '', config.stem
    if checkpoint is None:
        note, stem = 'random weights', f'{config.stem}-random'
        checkpoint = str(folder / f'{stem}.pth')
        if not Path(checkpoint).exists():
            save_atomically(dict(state_dict=untrained(cfg).state_dict()), checkpoint)
    known_by = hashlib.sha256(text.encode() + Path(checkpoint).read_bytes()).hexdigest()[:8]
    sources = {PYTORCH: (str(config), checkpoint)}
    for engine, suffix in ((ONNX, '.onnx'), (PLAN, '.plan')):
        out = folder / f'{stem}-{known_by}{suffix}'
        try:
            if not out.exists():
                print(export(parse_args([str(config), checkpoint, str(out), *sizes[engine]])))
            sources[engine] = str(out)
        except ValueError as error:  # no compiler, for instance; PyTorch is left in any case
            print(f'{config.stem} is served without {engine}: {error}', file=sys.stderr)
    return Offer(config.stem, task, sources, note)


def one_size(cfg: Config) -> list[str]:
    """Options for a plan, whose images have one size: where the test pipeline leaves it open, what they fit into."""
    if default_size(cfg):
        return []
    width, height = next(pair(step['scale']) for step in test_pipeline(cfg) if step['type'] == 'Resize')
    return ['--size', str(height), str(width)]


def untrained(cfg: Config) -> nn.Module:
    """The model as a training begins, but with statistics of pictures in the normalization of a detector: without, its
    scores are nearly equal, rounding decides which boxes are left, and an exported file could not be compared."""
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    if task_of(cfg) == 'detection':
        mean, std, _ = normalization(cfg)
        pictures = np.stack([cv2.resize(draw_scene(np.random.default_rng(seed))[0], (160, 160)) for seed in range(8)])
        update_bn([torch.from_numpy((pictures - mean) / std).float().permute(0, 3, 1, 2)], model)
    return model


def demo_pictures(folder: Path, count: int = 4) -> list[str]:
    """Pictures of figures, and digits where scikit-learn is; paths of PNGs that are drawn anew."""
    pictures = {f'figures_{seed}': draw_scene(np.random.default_rng(1000 + seed))[0] for seed in range(count)}
    try:
        from sklearn.datasets import load_digits
        pictures |= {f'digit_{index}': cv2.cvtColor(np.round(load_digits().images[index] * 255 / 16).astype(np.uint8),
                                                    cv2.COLOR_GRAY2BGR) for index in range(count)}
    except ModuleNotFoundError:
        pass
    for name, pixels in pictures.items():
        pixels = cv2.resize(pixels, None, fx=(factor := 640 / max(pixels.shape)), fy=factor,
                            interpolation=cv2.INTER_CUBIC)  # so that what is drawn is fine
        with written_atomically(folder / f'{name}.png') as file:
            file.write(cv2.imencode('.png', pixels)[1].tobytes())
    return [str(folder / f'{name}.png') for name in pictures]
