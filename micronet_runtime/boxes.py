"""From class logits and distributions of distances to boxes, as mmdet's ``GFLHead`` decodes and suppresses them."""
import math
from collections.abc import Callable, Sequence

import numpy as np

from .shown import shown

BLOCK = 32  # boxes whose overlaps with all others are computed at once
LEAST = -80.0  # a logit below which a score is nothing; its exponential is still finite in float32


class Distributions:
    """What makes boxes of a plan that ends at the maps of a head like GFL's (arXiv:2006.04388).

    Args:
        description: of the plan, with ``score_threshold`` and ``max_per_image``; its ``decoding`` has

            - ``strides``: pixels of the input between the places of each level's maps;
            - ``most_per_level``: how many pairs of place and class of a level are looked at, the best; 0 for all;
            - ``least_side``: what sides of boxes have to exceed, in pixels;
            - ``iou_threshold``: from which overlap on the lesser box is dropped;
            - ``class_agnostic``: whether it is, whatever the classes.
        shapes: of the plan's outputs: of each level the class logits, (C, H, W), then of each level the logits of
            distances in strides to the left, top, right and bottom, (4 * bins, H, W).

    Raises:
        ValueError, KeyError, TypeError: if these do not make sense.
    """
    inputs, outputs = ('image', 'extent'), ('boxes', 'scores', 'labels', 'images')

    def __init__(self, description: dict, shapes: Sequence[tuple[int, ...]]) -> None:
        how = description['decoding']
        self.strides = [float(stride) for stride in how['strides']]
        self.most_per_level, self.most = int(how['most_per_level']), int(description['max_per_image'])
        self.least_side, self.iou_threshold = float(how['least_side']), float(how['iou_threshold'])
        self.class_agnostic = how['class_agnostic']
        self.least_logit = logit(float(description['score_threshold']))
        levels = len(self.strides)
        if not levels or not all(0 < stride < math.inf for stride in self.strides):
            raise ValueError(f'strides are {shown(how["strides"])}')
        if not 0 <= self.iou_threshold <= 1:
            raise ValueError(f'iou_threshold is {shown(how["iou_threshold"])}')
        if type(self.class_agnostic) is not bool:
            raise ValueError(f'class_agnostic is {shown(self.class_agnostic)}')
        shapes = [tuple(shape) for shape in shapes]
        if len(shapes) != 2 * levels or any(
                len(each) != 3 or each[1:] != other[1:] or other[0] % 4
                for each, other in zip(shapes[:levels], shapes[levels:])):
            raise ValueError(f'maps of the shapes {shapes} are not those of {levels} levels')

    def __call__(self, compute: Callable, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Boxes (M, 4) in pixels of the input, scores (M), labels (M), and of which image each is (M).

        Args:
            compute: gives the plan's outputs for images (N, 3, H, W), in a list.
            feed: these images, and as ``extent`` (N, 2) their heights and widths without padding.
        """
        maps, levels = compute(feed['image']), len(self.strides)
        found = [self.of_image([each[index] for each in maps[:levels]], [each[index] for each in maps[levels:]], extent)
                 for index, extent in enumerate(feed['extent'])]
        images = np.repeat(np.arange(len(found)), [len(scores) for _, scores, _ in found])
        return [*map(np.concatenate, zip(*found)), images]

    def of_image(self, logits: Sequence[np.ndarray], distances: Sequence[np.ndarray],
                 extent: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, scores and labels, best first, from an image's maps of each level."""
        values, labels, points, bins, strides = (np.concatenate(each, -1) for each in zip(*(
            self.candidates(*level) for level in zip(logits, distances, self.strides))))
        sides = expectation(bins) * strides
        height, width = extent
        boxes = np.concatenate([points - sides[:2], points + sides[2:]])
        boxes = np.clip(boxes, 0, np.array([[width], [height]] * 2, np.float32)).T
        scores = 1 / (1 + np.exp(-values))
        large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] > self.least_side).all(1))
        apart = np.zeros_like(labels) if self.class_agnostic else labels
        kept = large[suppress(boxes[large], scores[large], apart[large], self.iou_threshold, self.most)]
        return boxes[kept], scores[kept], labels[kept]

    def candidates(self, logits: np.ndarray, distances: np.ndarray, stride: float) -> tuple[np.ndarray, ...]:
        """The pairs of place and class of one level that may become boxes.

        Returns:
            Of M of them the logits (M), labels (M), x and y in pixels (2, M), the logits of distances (4, bins, M), and
            the stride (M).
        """
        _, height, width = logits.shape
        flat = logits.reshape(-1)
        chosen = np.flatnonzero(flat > self.least_logit)
        if 0 < self.most_per_level < len(chosen):
            chosen = chosen[np.argpartition(-flat[chosen], self.most_per_level)[:self.most_per_level]]
        labels, places = np.divmod(chosen, height * width)
        y, x = np.divmod(places, width)
        bins = distances.reshape(4, -1, height * width)[:, :, places]
        points = (np.stack([x, y]) * stride).astype(np.float32)
        return flat[chosen], labels, points, bins, np.full(len(chosen), stride, np.float32)


def logit(score: float) -> float:
    """What the sigmoid makes this score of, within what is told apart."""
    if score >= 1:
        return math.inf
    return max(LEAST, math.log(score / (1 - score))) if score > 0 else LEAST


def expectation(logits: np.ndarray) -> np.ndarray:
    """Of the distributions over 0, 1, ... that softmax makes of the second axis of (4, bins, M): (4, M)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    values = np.arange(logits.shape[1], dtype=np.float32)
    return (powers * values[:, None]).sum(1) / powers.sum(1)


def suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou_threshold: float,
             most: int) -> np.ndarray:
    """Greedy suppression of boxes (M, 4), each label by itself: the indices of what is left, best first.

    Args:
        most: of them; 0 or less for any number.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    most = most if most > 0 else len(boxes)
    order = np.argsort(-scores, kind='stable')
    # As in mmcv labels are moved apart: what single precision rounds off then is rounded off here as well.
    apart = boxes + (labels.astype(np.float32) * (boxes.max() + 1))[:, None]
    left, top, right, bottom = np.ascontiguousarray(apart[order].T)
    areas = (right - left) * (bottom - top)
    alive, kept = np.ones(len(order), bool), []
    while len(kept) < most and len(best := np.flatnonzero(alive)[:BLOCK]):
        rows = best[:, None]
        widths = np.minimum(right[rows], right) - np.maximum(left[rows], left)
        heights = np.minimum(bottom[rows], bottom) - np.maximum(top[rows], top)
        inner = np.maximum(widths, 0) * np.maximum(heights, 0)
        unions = np.maximum(areas[rows] + areas - inner, np.float32(1e-9))
        for index, others in zip(best.tolist(), inner / unions <= np.float32(iou_threshold)):
            if alive[index]:
                kept.append(index)
                alive &= others
                alive[index] = False
    return order[kept[:most]]
