"""Models of any host's configs, and what they cost."""
from typing import Any, Optional

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from micronet_mm.validation import building

from .complexity import Complexity, count

# Height and width that the literature quotes costs at.
SHAPES = dict(mmpretrain=(224, 224), mmdet=(800, 1333), mmpose=(256, 192))


def build_model(cfg: Config) -> nn.Module:
    """The model of a config, without weights.

    Raises:
        ValueError: if it names what is not there, or what it names cannot be built.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    with building():
        return MODELS.build(cfg.model)


def count_config(cfg: Config, shape: Optional[tuple[int, int]] = None) -> Complexity:
    """Count a config's model on one image.

    A two-stage detector is counted with as many proposals as its ``test_cfg`` allows: an untrained RPN finds as many as
    it is let, so suppression is switched off.

    Args:
        cfg: a config of mmpretrain, mmdet or mmpose.
        shape: height and width of the image; by default what :data:`SHAPES` has for the host.

    Raises:
        ValueError: if the height or width is not positive.
    """
    scope = cfg.get('default_scope')
    height, width = shape or SHAPES.get(scope, (224, 224))
    if min(height, width) < 1:
        raise ValueError(f'height and width must be positive, got {height} {width}.')
    model = build_model(cfg)
    return count(model, height, width, 3, data_samples(scope, model, height, width))


def data_samples(scope: Optional[str], model: nn.Module, height: int, width: int) -> Optional[list[Any]]:
    """What the host's model takes beside the image: mmdet's two-stage detectors look at its size, others ignore it."""
    if scope != 'mmdet':
        return None
    from mmdet.structures import DetDataSample
    if getattr(model, 'with_rpn', False):
        model.rpn_head.test_cfg.nms.iou_threshold = 1.0
    size = (height, width)
    return [DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
                                        scale_factor=(1.0, 1.0)))]


def madds(cfg: Config, description: dict[str, Any], size: Optional[tuple[int, int]]) -> dict[str, Any]:
    """What an exported file says that it costs.

    Args:
        cfg: of the model.
        description: of the file, as :func:`micronet_mm.deploy.metadata.describe` returns it.
        size: height and width of its images. Where that is open the scale that a detector is tested at counts.

    Returns:
        ``number`` of multiply-adds of one pass of the network, and the ``size`` [H, W] of the image.
    """
    height, width = size or sorted((description.get('preprocess') or {}).get('scale') or (320, 320))
    cost = count_config(cfg, (height, width))
    total = cost.within('backbone') if description['task'] == 'features' else cost.total
    return dict(number=total.madds, size=[height, width])
