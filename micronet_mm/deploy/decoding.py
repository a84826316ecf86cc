"""How the runtime makes keypoints or boxes of a plan's maps, as its description says it.

``micronet_runtime/heatmaps.py`` and ``boxes.py`` read this.
"""
from typing import Any

from mmengine.config import Config
from torch import nn

from micronet_mm.deploy.metadata import dataset_meta

SUPPRESSION = {'type', 'iou_threshold', 'class_agnostic'}  # settings of it that the runtime knows


def describe_decoding(cfg: Config, task: str, model: nn.Module) -> dict[str, Any]:
    """What stands under ``decoding`` in the description of a plan.

    Args:
        cfg: of the model.
        task: 'keypoints' or 'detection'.
        model: built from the config.

    Raises:
        ValueError: if the runtime has not the decoding of this model.
    """
    return of_heatmaps(cfg, model) if task == 'keypoints' else of_boxes(model)


def of_heatmaps(cfg: Config, model: nn.Module) -> dict[str, Any]:
    from mmpose.codecs import MSRAHeatmap
    codec, settings = getattr(getattr(model, 'head', None), 'decoder', None), getattr(model, 'test_cfg', None) or {}
    flips, mode = settings.get('flip_test', False), settings.get('flip_mode', 'heatmap')
    if type(codec) is not MSRAHeatmap:
        raise ValueError(refusal(f'{name_of(codec, model)}, only of MSRAHeatmap'))
    if flips and mode != 'heatmap':
        raise ValueError(refusal(f"flip_mode={mode!r}, only of 'heatmap'"))
    return dict(
        kind='heatmaps', scale=[float(each) for each in codec.scale_factor],
        blur=codec.blur_kernel_size if codec.unbiased else None,
        flip=list(dataset_meta(cfg, model)['flip_indices']) if flips else None,
        shift=bool(settings.get('shift_heatmap', False)))


def of_boxes(model: nn.Module) -> dict[str, Any]:
    from mmdet.models.dense_heads import GFLHead
    from mmdet.models.task_modules import AnchorGenerator, DistancePointBBoxCoder

    from micronet_mm.models import MicroDetHead
    head = getattr(model, 'bbox_head', None)
    if type(head) not in (GFLHead, MicroDetHead):
        raise ValueError(refusal(f'{name_of(head, model)}, only of MicroDetHead and GFLHead'))
    places, coder, settings = head.prior_generator, head.bbox_coder, head.test_cfg
    # One box at each place, which reaches to its sides from the place's upper left corner.
    if (type(places) is not AnchorGenerator or places.center_offset or places.centers is not None
            or any(number != 1 for number in places.num_base_priors) or any(x != y for x, y in places.strides)):
        raise ValueError(refusal('this anchor_generator, only of an AnchorGenerator with one anchor at each place, '
                                 'center_offset 0 and square strides'))
    if type(coder) is not DistancePointBBoxCoder or not coder.clip_border:
        raise ValueError(refusal('this bbox_coder, only of a DistancePointBBoxCoder that clips'))
    suppression = settings.get('nms') or {}
    if suppression.get('type', 'nms') != 'nms' or 'iou_threshold' not in suppression or set(suppression) - SUPPRESSION:
        raise ValueError(refusal(f'suppression by {dict(suppression)}, only by nms with an iou_threshold'))
    return dict(
        kind='distributions', strides=[stride for stride, _ in places.strides],
        most_per_level=max(0, settings.get('nms_pre', 0)), least_side=settings.get('min_bbox_size', -1),
        iou_threshold=suppression['iou_threshold'], class_agnostic=suppression.get('class_agnostic', False))


def name_of(part: Any, model: nn.Module) -> str:
    """Its class, or of a model without it the model's."""
    return type(model if part is None else part).__name__


def refusal(what: str) -> str:
    return f'with a plan there is no decoding of {what}; export the maps with --raw, or an ONNX file.'
