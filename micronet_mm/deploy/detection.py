"""Detectors to export: raw maps, or boxes with mmdet's own decoding and suppression in the graph."""
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Union
from unittest import mock

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import delta_xywh_bbox_coder as coders
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import distance2bbox
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

SPLIT, ALL = Tensor.split, Tensor.all


class DetectorMaps(nn.Module):
    """A one-stage detector as a function of an image: what its head gives for each level.

    Raises:
        ValueError: for a detector of two stages.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if getattr(model, 'roi_head', None) is not None:
            raise ValueError(f'{type(model).__name__} has two stages, and no maps that say what it finds; export it '
                             'without --raw.')
        self.model = model
        with torch.no_grad():
            outputs = model(torch.zeros(1, 3, 128, 128))
        self.output_names = [f'maps{kind}_{level}' for kind, maps in enumerate(outputs) for level in range(len(maps))]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(each for maps in self.model(image) for each in maps)


class DetectorBoxes(nn.Module):
    """A detector as a function of one image or a fixed number of them, and of their extents.

    Takes images (N, 3, H, W), and the heights and widths that they have without padding, (N, 2), to which boxes are
    clipped before suppression, as mmdet does. Gives what is left after suppression and above the score threshold, best
    first: boxes (M, 4) in pixels of the input, scores (M), labels (M), and of which image (M). Masks are left out.

    Args:
        model: of mmdet.
        exportable: predict by operations that have a place in ONNX; otherwise as mmdet does, to compare with.
    """

    takes_extent = True

    def __init__(self, model: nn.Module, exportable: bool = True) -> None:
        super().__init__()
        self.model = model
        self.exportable = exportable
        if getattr(model, 'roi_head', None) is not None:
            model.roi_head.mask_head = None
        self.output_names = ['boxes', 'scores', 'labels', 'images']

    def forward(self, image: Tensor, extent: Tensor) -> tuple[Tensor, ...]:
        # Plain numbers: mmdet copies them, so nothing that is traced would come through.
        size = tuple(map(int, image.shape[2:]))
        samples = [DetDataSample(metainfo=dict(img_shape=tuple(map(int, sides)), ori_shape=size, pad_shape=size,
                                               batch_input_shape=size, scale_factor=(1.0, 1.0))) for sides in extent]
        edges = Edges(extent)
        with exportable_mmdet(edges) if self.exportable else nullcontext():
            found = [sample.pred_instances for sample in self.model.predict(image, samples, rescale=False)]
        stages = 1 if getattr(self.model, 'roi_head', None) is None else 2
        if self.exportable and len(samples) > 1 and edges.taken != stages * len(samples):
            raise ValueError(f'the head of this {type(self.model).__name__} decodes the boxes of an image in parts, so '
                             'it is exported for one image at a time; leave --batch out.')
        numbers = torch.cat([torch.full_like(each.labels, number) for number, each in enumerate(found)])
        boxes, scores, labels = (torch.cat([each[name] for each in found]) for name in ('bboxes', 'scores', 'labels'))
        real = labels >= 0
        return boxes[real], scores[real], labels[real], numbers[real]


@contextmanager
def exportable_mmdet(edges: 'Edges') -> Iterator[None]:
    """Within it mmdet's predictions on images of these extents are made of operations that have a place in ONNX and
    take any number of boxes.

    What mmdet does on its own when it is exported is for other runtimes, or gone.
    """
    replacements = dict(batched_nms=batched_nms, multiclass_nms=multiclass_nms,
                        filter_scores_and_topk=filter_scores_and_topk,
                        delta2bbox=clipping_after(coders.delta2bbox, edges),
                        distance2bbox=clipping_after(distance2bbox, edges))
    with (mock.patch.object(RoIAlign, 'forward', align),
          mock.patch.object(SingleRoIExtractor, 'forward', extract), mock.patch.object(Tensor, 'new_full', new_full),
          mock.patch.object(Tensor, 'split', split), mock.patch.object(Tensor, 'all', never_all),
          mock.patch('torch.onnx.is_in_onnx_export', lambda: False)):
        patches = [mock.patch.object(module, name, new) for module in list(sys.modules.values())
                   if getattr(module, '__name__', '').startswith('mmdet.') for name, new in replacements.items()
                   if name in vars(module)]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


class Edges:
    """Width and height of one image after the other, as mmdet decodes their boxes; of a single one always its own."""

    def __init__(self, extent: Tensor) -> None:
        self.of_images = extent.flip(1).unbind()
        self.taken = 0

    def next(self) -> Tensor:
        self.taken += 1
        return self.of_images[(self.taken - 1) % len(self.of_images)]


def clipping_after(decode: Callable, edges: Edges) -> Callable:
    """A function of mmdet that decodes boxes, clipping them to the image behind it: it does so in place, by slices."""
    signature = inspect.signature(decode)

    def decoded(*args: Any, **kwargs: Any) -> Tensor:
        given = signature.bind(*args, **kwargs)
        clips = given.arguments.get('max_shape') is not None and given.arguments.get('clip_border', True)
        given.arguments['max_shape'] = None
        boxes = decode(*given.args, **given.kwargs)
        if not clips:
            return boxes
        return torch.minimum(boxes.reshape(-1, 2).clamp(min=0), edges.next().to(boxes)).view_as(boxes)

    return decoded


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, nms_cfg: Any,
                class_agnostic: bool = False) -> tuple[Tensor, Tensor]:
    """mmcv's, of greedy suppression alone: classes are moved apart, and what is kept comes best first."""
    if nms_cfg is None or nms_cfg.get('type', 'nms') != 'nms':
        raise ValueError(f'suppression of type {nms_cfg and nms_cfg.get("type")!r} has no place in ONNX; give test_cfg '
                         "nms=dict(type='nms', iou_threshold=...), or export with --raw.")
    apart = boxes
    if not nms_cfg.get('class_agnostic', class_agnostic):
        largest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()  # there may be no boxes
        apart = boxes + (idxs.to(boxes) * (largest + 1))[:, None]
    keep = nms(apart, scores, nms_cfg['iou_threshold'])
    if nms_cfg.get('max_num', -1) > 0:
        keep = keep[:nms_cfg['max_num']]
    return torch.cat([boxes[keep], scores[keep, None]], 1), keep


def filter_scores_and_topk(scores: Tensor, score_thr: float, topk: int, results: Any = None) -> tuple:
    """mmdet's: the best ``topk`` of all pairs of place and class above a threshold, and see :func:`above`."""
    classes, flat = scores.shape[1], scores.flatten()
    # A tensor where an exporter traces, so that smaller maps are asked for fewer.
    count = flat.shape[0]
    best, places = flat.topk(torch.as_tensor(count).clamp(max=topk) if topk > 0 else count)
    index, best, labels = above(score_thr, best, places % classes)
    index = places[index] // classes
    if isinstance(results, dict):
        results = {name: value[index] for name, value in results.items()}
    elif isinstance(results, list):
        results = [value[index] for value in results]
    elif results is not None:
        results = results[index]
    return best, labels, index, results


def multiclass_nms(multi_bboxes: Tensor, multi_scores: Tensor, score_thr: float, nms_cfg: Any,
                   max_num: int = -1, box_dim: int = 4) -> tuple[Tensor, Tensor]:
    """mmdet's, of boxes (N, 4) or (N, 4 * classes) and scores (N, classes + 1), and see :func:`above`."""
    classes = multi_scores.shape[1] - 1
    boxes = multi_bboxes.unflatten(1, (-1, box_dim)).expand(-1, classes, box_dim).flatten(0, 1)
    labels = torch.arange(classes, device=boxes.device).expand_as(multi_scores[:, :-1]).flatten()
    index, scores, labels = above(score_thr, multi_scores[:, :-1].flatten(), labels)
    found, keep = batched_nms(boxes[index], scores, labels, nms_cfg)
    most = max_num if max_num > 0 else None
    return found[:most], labels[keep[:most]]


def above(threshold: float, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which scores are above the threshold, and these and their labels.

    The best one is among them in any case, if need be with score 0 and label -1: where a trace finds nothing, mmdet
    leaves out what comes behind, and the file would never find anything.
    """
    is_above = scores > threshold
    index = (is_above | (scores == scores.max())).nonzero()[:, 0]
    real = is_above[index]
    return (index, torch.where(real, scores[index], torch.zeros_like(scores[index])),
            torch.where(real, labels[index], -torch.ones_like(labels[index])))


def align(layer: RoIAlign, maps: Tensor, rois: Tensor) -> Tensor:
    return roi_align(maps, rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned)


def extract(extractor: SingleRoIExtractor, maps: Sequence[Tensor], rois: Tensor,
            roi_scale_factor: Any = None) -> Tensor:
    """mmdet's, but it looks at all levels: mmdet passes over those without boxes, which a trace takes for a rule."""
    levels = extractor.map_roi_levels(rois, len(maps))
    places = [(levels == level).nonzero()[:, 0] for level in range(len(maps))]
    parts = [layer(each, rois[index]) for layer, each, index in zip(extractor.roi_layers, maps, places)]
    return torch.cat(parts)[torch.cat(places).argsort()]


def new_full(x: Tensor, size: Sequence[int], fill_value: float, **options: Any) -> Tensor:
    """PyTorch's, of as many values as ``x`` has, however many that are: a trace would keep the number."""
    kind = options.get('dtype', x.dtype)
    if tuple(size) == tuple(x.shape):
        return x.ne(x).to(kind) + fill_value
    return torch.full(size, fill_value, dtype=kind, device=x.device)


def split(x: Tensor, sizes: Union[int, Sequence[int]], dim: int = 0) -> Sequence[Tensor]:
    """PyTorch's, but the whole stays whole: by image, proposals of one image, whose number a trace would keep."""
    return (x, ) if isinstance(sizes, tuple) and len(sizes) == 1 else SPLIT(x, sizes, dim)


def never_all(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """PyTorch's, but of one axis it is never said that everything holds: mmdet drops boxes of which clipping has left
    nothing only if there are any, and a trace would keep what held for its picture.
    """
    return torch.zeros((), dtype=torch.bool) if x.dim() == 1 else ALL(x, *args, **kwargs)
