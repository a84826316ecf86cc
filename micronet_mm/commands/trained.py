"""A config's model with the weights of a checkpoint."""
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from torch import nn

from micronet_mm.analysis.from_config import build_model
from micronet_mm.checkpoint import check_fits
from micronet_mm.engine.checks.paths import find_dicts


def untrained_model(cfg: Config) -> nn.Module:
    """The model of a config, which a checkpoint is to bring the weights for: none are read."""
    for part in find_dicts(cfg.model, 'init_cfg'):
        part.init_cfg = None
    return build_model(cfg)


def load_trained(model: nn.Module, checkpoint: str) -> nn.Module:
    """Give a model the weights of a checkpoint, and the classes that these were trained on as ``dataset_meta``.

    Raises:
        CheckpointError: if it cannot be read.
        ValueError: if it is for another model.
    """
    check_fits(model, checkpoint)
    content = load_checkpoint(model, checkpoint, map_location='cpu')
    model.dataset_meta = (content.get('meta') or {}).get('dataset_meta')
    return model
