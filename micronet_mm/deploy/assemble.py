"""A model of a config as a function of an image, ready to be exported."""
from typing import Any, Optional

from mmengine.config import Config
from torch import nn

from micronet_mm.deploy.fold import switch_to_deploy
from micronet_mm.deploy.metadata import dataset_meta, normalization, pair, test_pipeline

from .functions import Features, Normalized, Scores


def assemble(cfg: Config, task: str, model: nn.Module, raw: bool = False, inside: bool = True,
             deploy: bool = True) -> nn.Module:
    """The model with decoding and normalization around it as asked for.

    Args:
        cfg: of the model.
        task: as :func:`micronet_mm.deploy.metadata.task_of` says, or 'features' for the backbone alone.
        model: built from the config; it is changed.
        raw: give logits, maps or heatmaps.
        inside: take pixels from 0 to 255.
        deploy: put the model into its deploy form; without, it is what the form is compared with, down to MMLab's own
            decoding of boxes.

    Raises:
        ValueError: if the model's decoding has no place in a graph.
    """
    model.requires_grad_(False).eval()
    if deploy:
        switch_to_deploy(model)
    if task == 'features':
        found = Features(model.backbone)
    elif task == 'classification':
        if not raw:
            require_scores(model)
        found = Scores(model, raw)
    elif task == 'detection':
        from .detection import DetectorBoxes, DetectorMaps
        found = DetectorMaps(model) if raw else DetectorBoxes(model, exportable=deploy)
    else:
        from .keypoints import PoseModel
        found = PoseModel(model, not raw, dataset_meta(cfg, model)['flip_indices'])
    if inside:
        mean, std, _ = normalization(cfg)
        found = Normalized(found, mean, std)
    return found.eval()


def require_scores(model: nn.Module) -> None:
    """Raise ValueError unless softmax makes scores of what a classifier of mmpretrain gives."""
    from mmpretrain.models.heads import ClsHead
    if not isinstance(model.head, ClsHead):
        raise ValueError(f'the logits of {type(model.head).__name__} are no scores of one class each; export them '
                         'with --raw.')


def default_size(cfg: Config) -> Optional[tuple[int, int]]:
    """Height and width that the test pipeline gives every image, None if they vary."""
    size: Any = None
    for step in test_pipeline(cfg):
        kind = step['type']
        if kind in ('CenterCrop', 'TopdownAffine'):
            width, height = pair(step.get('crop_size') or step['input_size'])
            size = (height, width)
        elif kind == 'Pad' and step.get('size'):
            width, height = pair(step['size'])
            size = (height, width)
        elif kind == 'Resize' and not step.get('keep_ratio') and step.get('scale'):
            width, height = pair(step['scale'])
            size = (height, width)
    return size
