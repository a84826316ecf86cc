"""How far what one exported file finds is from what another one finds, in the words of its task."""
from collections.abc import Mapping, Sequence

import numpy as np

Outputs = Mapping[str, np.ndarray]
CERTAIN, OVERLAP = 0.3, 0.5  # score from which on a box or keypoint is looked for, and IoU at which it is the same


def agreement(task: str, found: Sequence[Outputs], expected: Sequence[Outputs]) -> str:
    """One line.

    Args:
        task: 'classification', 'detection' or 'keypoints'.
        found: outputs for some inputs, by name.
        expected: the other file's for the same inputs.
    """
    return dict(classification=same_classes, detection=same_boxes, keypoints=same_places)[task](found, expected)


def same_classes(found: Sequence[Outputs], expected: Sequence[Outputs]) -> str:
    ours, theirs = (np.concatenate([outputs['scores'] for outputs in each]) for each in (found, expected))
    same = int((ours.argmax(1) == theirs.argmax(1)).sum())
    return f'the same class for {same} of {len(ours)} images, scores {np.abs(ours - theirs).mean():.2g} apart (mean)'


def same_boxes(found: Sequence[Outputs], expected: Sequence[Outputs]) -> str:
    total, matched, distances = 0, 0, []
    for ours, theirs in zip(found, expected):
        for index in np.flatnonzero(theirs['scores'] > CERTAIN):
            total += 1
            alike = (ours['labels'] == theirs['labels'][index]) & (ours['images'] == theirs['images'][index])
            candidates = np.flatnonzero(alike)
            overlaps = iou(theirs['boxes'][index], ours['boxes'][candidates])
            if (overlaps > OVERLAP).any():
                matched += 1
                distances.append(abs(ours['scores'][candidates[overlaps.argmax()]] - theirs['scores'][index]))
    if not total:
        return f'no box scores above {CERTAIN}'
    apart = f', their scores {np.mean(distances):.2g} apart (mean)' if distances else ''
    return f'{matched} of {total} boxes of scores above {CERTAIN} at IoU {OVERLAP}{apart}'


def same_places(found: Sequence[Outputs], expected: Sequence[Outputs]) -> str:
    names = ('keypoints', 'scores')
    (ours, _), (theirs, scores) = ([np.concatenate([outputs[name] for outputs in each]) for name in names]
                                   for each in (found, expected))
    certain = scores > CERTAIN
    if not certain.any():
        return f'no keypoint scores above {CERTAIN}'
    distances = np.linalg.norm(ours - theirs, axis=-1)[certain]
    return (f'{certain.sum()} keypoints of scores above {CERTAIN} are {distances.mean():.2g} pixels of the input apart '
            f'(mean), {np.percentile(distances, 99):.2g} (99 %)')


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Of a box (4) with each of several (M, 4)."""
    sides = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0)
    inner = sides.prod(1)
    return inner / np.maximum((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - inner, 1e-9)
