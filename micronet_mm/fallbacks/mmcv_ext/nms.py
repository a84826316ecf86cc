"""Non-maximum suppression, hard and soft."""
import torch
import torchvision
from torch import Tensor


def single(value: float) -> float:
    """A threshold as mmcv's operators hold it, in single precision: an overlap of just 0.3 does not exceed 0.3."""
    return torch.tensor(value, dtype=torch.float32).item()


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes that no kept box of a higher score overlaps by more than ``iou_threshold``, best first.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N).
        iou_threshold: of the suppression.
        offset: 1 where x2 and y2 are the last pixels, 0 where they are the border.

    Returns:
        (M), int64.
    """
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], 1)
    # Of equal scores mmcv takes first what PyTorch's sort puts first, torchvision what comes first.
    order = scores.sort(0, descending=True)[1]
    ranks = torch.arange(len(order), 0, -1, device=boxes.device, dtype=boxes.dtype)
    return order[torchvision.ops.nms(boxes[order], ranks, single(iou_threshold))]


def overlaps(box: Tensor, others: Tensor, offset: int = 0) -> Tensor:
    """Intersection over union of a box (4) and others (N, 4): (N)."""
    inner = (torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2]) + offset).clamp(min=0)
    area, areas = (box[2:] - box[:2] + offset).prod(), (others[:, 2:] - others[:, :2] + offset).prod(1)
    shared = inner.prod(1)
    return shared / (area + areas - shared)


def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float, sigma: float, min_score: float,
            method: int, offset: int) -> Tensor:
    """Soft-NMS (Bodla et al., ICCV 2017): what a chosen box overlaps is scored lower instead of dropped.

    Args:
        boxes: (N, 4), on the CPU.
        scores: (N).
        dets: (N, 5); its first rows become the boxes in the order they are chosen, and their scores then.
        iou_threshold: from which on methods 0 and 1 act.
        sigma: of method 2.
        min_score: a box scored lower is dropped.
        method: weight of what overlaps by u: 0 for none of it, 1 for 1 - u, 2 for exp(-u^2 / sigma).
        offset: as in :func:`nms`.

    Returns:
        (M), int64: indices of the rows of ``dets``.
    """
    scores, order = scores.clone(), torch.arange(len(boxes))
    chosen = 0
    while chosen < len(order):
        # Of equal scores the first in the list wins, which dropping rearranges, so the list is kept as mmcv keeps it.
        # NaN, of two boxes without area in one place, is larger than nothing.
        left = scores[order[chosen:]]
        best = chosen if left[0].isnan() else chosen + int(left.nan_to_num(nan=-torch.inf).argmax())
        order[[chosen, best]] = order[[best, chosen]]
        index, rest = order[chosen], order[chosen + 1:]
        dets[chosen, :4], dets[chosen, 4] = boxes[index], scores[index]
        chosen += 1

        overlap = overlaps(boxes[index], boxes[rest], offset)
        if method == 2:
            weight = torch.exp(-overlap.square() / single(sigma))
        else:
            weight = torch.where(overlap >= single(iou_threshold), 1 - overlap if method == 1 else 0.0, 1.0)
        scores[rest] *= weight
        order = torch.cat([order[:chosen], without(rest, scores[rest] < single(min_score))])
    return order


def without(items: Tensor, dropped: Tensor) -> Tensor:
    """``items`` less those where ``dropped``; the gaps are filled with the last ones, from the end."""
    remaining = int((~dropped).sum())
    gaps = dropped[:remaining].nonzero()[:, 0]
    last = remaining + (~dropped[remaining:]).nonzero()[:, 0]
    kept = items[:remaining].clone()
    kept[gaps] = items[last.flip(0)]
    return kept


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Every kept box with those that it suppresses.

    Args:
        dets: (N, 5), boxes and scores, on the CPU.
        iou_threshold: an overlap that reaches it suppresses.

    Returns:
        Indices, a list for each kept box, itself first, by score.
    """
    order = dets[:, 4].sort(0, descending=True)[1]
    matches = []
    while len(order):
        index, rest = order[0], order[1:]
        suppressed = overlaps(dets[index, :4], dets[rest, :4]) >= single(iou_threshold)
        matches.append([int(index), *rest[suppressed].tolist()])
        order = rest[~suppressed]
    return matches
