"""The crop of a person, as mmpose's GetBBoxCenterScale and TopdownAffine make it, and the way back.

A crop is the box enlarged by a factor, then widened or heightened to the proportions of the input.
"""
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of an image that becomes an input.

    Args:
        center: (x, y) in pixels of the image.
        extent: (width, height) in pixels of the image.
        size: (H, W) of the input.
    """
    center: np.ndarray
    extent: np.ndarray
    size: tuple[int, int]

    def of(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3), bilinear; black where the crop leaves the image."""
        height, width = self.size
        there = corner_points(self.center, self.extent[0])
        here = corner_points(np.array([width / 2, height / 2]), width)
        return cv2.warpAffine(image, cv2.getAffineTransform(there, here), (width, height), flags=cv2.INTER_LINEAR)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in pixels of the input, as float32 in pixels of the image."""
        height, width = self.size
        return (points / (width, height) * self.extent + self.center - 0.5 * self.extent).astype(np.float32)


def crop(box: np.ndarray, padding: float, size: tuple[int, int]) -> Crop:
    """The crop of a box.

    Args:
        box: (x1, y1, x2, y2) in pixels.
        padding: the factor by which it is enlarged.
        size: (H, W) of the input.
    """
    box = np.asarray(box, np.float32)
    width, height = (box[2:] - box[:2]) * np.float32(padding)
    ratio = np.float32(size[1] / size[0])
    extent = (width, width / ratio) if width > height * ratio else (height * ratio, height)
    return Crop((box[2:] + box[:2]) * np.float32(0.5), np.array(extent, np.float32), size)


def corner_points(center: np.ndarray, width: float) -> np.ndarray:
    """Three points that fix the crop: its center, the middle of its left edge, and half a width below that."""
    points = np.empty((3, 2), np.float32)
    points[0] = center
    points[1] = center - np.array([0.5 * width, 0.0])
    points[2] = points[1] + (0, points[0, 0] - points[1, 0])
    return points
