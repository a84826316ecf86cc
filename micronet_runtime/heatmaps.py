"""From heatmaps to keypoints, as mmpose's ``MSRAHeatmap`` decodes them, and its flip test."""
from collections.abc import Callable, Sequence
from typing import Optional

import cv2
import numpy as np

from .shown import shown

WIDEST = 255  # blur; a larger one is a damaged number


class Heatmaps:
    """What makes keypoints of a plan that ends at heatmaps.

    Args:
        description: of the plan; its ``decoding`` has

            - ``scale``: width and height of a place of the heatmaps in pixels of the input;
            - ``blur``: the size of the Gaussian that DARK blurs with, or None for a quarter of a place;
            - ``flip``: what each keypoint is in a mirrored image, or None for no flip test;
            - ``shift``: whether heatmaps of mirrored images are moved by one place to the right.
        shapes: of the plan's outputs, of which there is one, (K, H, W).

    Raises:
        ValueError, KeyError, TypeError: if these do not make sense.
    """
    inputs, outputs = ('image', ), ('keypoints', 'scores')

    def __init__(self, description: dict, shapes: Sequence[tuple[int, ...]]) -> None:
        how = description['decoding']
        (keypoints, _, _), = shapes
        self.scale, self.blur, self.flip, self.shift = (how[key] for key in ('scale', 'blur', 'flip', 'shift'))
        self.scale = np.array(self.scale, np.float32)
        if self.scale.shape != (2, ) or not (np.isfinite(self.scale) & (self.scale > 0)).all():
            raise ValueError(f'scale is {shown(how["scale"])}')
        if self.blur is not None and not (type(self.blur) is int and self.blur in range(1, WIDEST + 1, 2)):
            raise ValueError(f'blur is {shown(self.blur)}')
        if type(self.shift) is not bool:
            raise ValueError(f'shift is {shown(self.shift)}')
        if self.flip is not None:
            if sorted(self.flip) != list(range(keypoints)):
                raise ValueError(f'flip is {shown(self.flip)}, and there are {keypoints} heatmaps')
            self.flip = np.array(self.flip, np.intp)

    def __call__(self, compute: Callable, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Keypoints (N, K, 2) in pixels of the input and their scores (N, K).

        Args:
            compute: gives the plan's outputs for images (N, 3, H, W), in a list.
            feed: these images.
        """
        images = feed['image']
        if self.flip is None:
            heatmaps, = compute(images)
        else:
            heatmaps, = compute(np.concatenate([images, images[..., ::-1]]))
            heatmaps = (heatmaps[:len(images)] + self.mirrored(heatmaps[len(images):])) * np.float32(0.5)
        return list(decode(heatmaps, self.scale, self.blur))

    def mirrored(self, heatmaps: np.ndarray) -> np.ndarray:
        """What heatmaps of mirrored images say of the images themselves."""
        heatmaps = heatmaps[:, self.flip, :, ::-1]
        return np.concatenate([heatmaps[..., :1], heatmaps[..., :-1]], -1) if self.shift else heatmaps


def decode(heatmaps: np.ndarray, scale: np.ndarray, blur: Optional[int]) -> tuple[np.ndarray, np.ndarray]:
    """Where heatmaps are largest, refined between the places; -1 where nothing is positive.

    Args:
        heatmaps: (N, K, H, W) float32.
        scale: (2), width and height of a place in pixels.
        blur: of DARK, or None.

    Returns:
        (N, K, 2) in pixels and the largest values (N, K).
    """
    batch, keypoints, height, width = heatmaps.shape
    maps = heatmaps.reshape(-1, height, width)
    flat = maps.reshape(len(maps), -1)
    places = flat.argmax(1)
    scores = flat[np.arange(len(flat)), places]
    y, x = np.divmod(places, width)
    offset = quarter(maps, x, y) if blur is None else dark(maps, x, y, blur)
    points = np.where((scores <= 0)[:, None], np.float32(-1), np.stack([x, y], 1).astype(np.float32) + offset)
    return (points * scale).reshape(batch, keypoints, 2), scores.reshape(batch, keypoints)


def quarter(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A quarter of a place towards the larger neighbour, (M, 2), of maps (M, H, W) at (x, y); the bounds are mmpose's.
    """
    height, width = maps.shape[1:]
    found = np.zeros((len(maps), 2), np.float32)
    m = np.flatnonzero((x > 1) & (x < width - 1) & (y > 0))
    found[m, 0] = np.sign(maps[m, y[m], x[m] + 1] - maps[m, y[m], x[m] - 1])
    m = np.flatnonzero((y > 1) & (y < height - 1) & (x > 0))
    found[m, 1] = np.sign(maps[m, y[m] + 1, x[m]] - maps[m, y[m] - 1, x[m]])
    return found * np.float32(0.25)


def dark(maps: np.ndarray, x: np.ndarray, y: np.ndarray, blur: int) -> np.ndarray:
    """DARK (arXiv:1910.06278): from (x, y) to where a Gaussian through the blurred maps (M, H, W) has its top, (M, 2).
    """
    height, width = maps.shape[1:]
    found = np.zeros((len(maps), 2), np.float32)
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    chosen = np.flatnonzero(inside & (maps[np.arange(len(maps)), y, x] > 0))
    if not len(chosen):
        return found
    maps, x, y = maps[chosen], x[chosen], y[chosen]
    blurred, rows = gaussian(maps, blur), np.arange(len(maps))
    factors = maps.max((1, 2)) / blurred.max((1, 2))

    def at(right: int, down: int) -> np.ndarray:
        return np.log(np.maximum(blurred[rows, y + down, x + right] * factors, np.float32(1e-10)))

    middle = at(0, 0)
    dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    dxx = 0.25 * (at(2, 0) - 2 * middle + at(-2, 0))
    dyy = 0.25 * (at(0, 2) - 2 * middle + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    determinant = dxx * dyy - dxy * dxy
    solvable = determinant != 0
    steps = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], 1)
    found[chosen[solvable]] = steps[solvable] / determinant[solvable, None]
    return found


def gaussian(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps (M, H, W) blurred; beyond their edges there are zeros."""
    count, height, width = maps.shape
    # One below the other, with zeros between them, they are blurred in one call.
    tall = np.zeros((count, height + size // 2, width), np.float32)
    tall[:, :height] = maps
    blurred = cv2.GaussianBlur(tall.reshape(-1, width), (size, size), 0, borderType=cv2.BORDER_CONSTANT)
    return blurred.reshape(tall.shape)[:, :height]
