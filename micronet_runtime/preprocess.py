"""From an image to a network's input, as the pipelines of mmpretrain and mmdet do it. Sizes are (height, width)."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

import cv2
import numpy as np

from .errors import InputError
from .metadata import Metadata
from .shown import shown

Size = tuple[int, int]
THIN = 64  # times as long as wide: such an image grows to gigabytes when its short edge is enlarged


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """Bilinear, to exactly this size."""
    if image.shape[:2] == tuple(size):
        return image
    return cv2.resize(image, (int(size[1]), int(size[0])), interpolation=cv2.INTER_LINEAR)


def resize_edge(image: np.ndarray, edge: int) -> np.ndarray:
    """Bilinear, the short edge to ``edge``; what is thinner than any picture loses its ends first."""
    height, width = image.shape[:2]
    short = min(height, width)
    if max(height, width) > THIN * short:
        image = center_crop(image, (min(height, THIN * short), min(width, THIN * short)))
        height, width = image.shape[:2]
    return resize(image, (int(edge * height / width), edge) if width < height else (edge, int(edge * width / height)))


def center_crop(image: np.ndarray, size: Size) -> np.ndarray:
    """The middle of an image; as much as there is where the image is smaller."""
    height, width = (min(wanted, there) for wanted, there in zip(size, image.shape[:2]))
    top, left = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
    return image[top:top + height, left:left + width]


STEPS = {'resize_edge': resize_edge, 'center_crop': center_crop, 'resize': resize}


def apply_steps(image: np.ndarray, steps: Sequence[dict]) -> np.ndarray:
    """A classifier's preprocessing, such as ``[{'resize_edge': 256}, {'center_crop': [224, 224]}]``.

    Args:
        image: (H, W, 3) uint8.
        steps: in order, each of one entry, its name and its size.

    Raises:
        InputError: if a step is unknown.
    """
    for step in steps:
        for name, value in step.items():
            if name not in STEPS:
                raise InputError(f'the file asks for the unknown step {shown(name)} ({", ".join(STEPS)} are known); '
                                 'update micronet_runtime.')
            image = STEPS[name](image, value)
    return image


@dataclass(frozen=True)
class Fit:
    """How an image comes into a detector's input.

    Args:
        scaled: size of the image once it is scaled; it lies at the top left.
        padded: size of the input.
    """
    scaled: Size
    padded: Size


def fit(size: Size, how: dict, fixed: Optional[Size]) -> Fit:
    """A detector's preprocessing.

    Args:
        size: of the image.
        how: 'scale' (long edge, short edge), the largest that the image becomes with its proportions kept; with
            'keep_ratio' False (width, height), what it becomes. 'pad_to', the least size of the input, and 'divisor',
            of which its sides are multiples; either may be missing.
        fixed: size of the input where the file takes that alone. An image that is too large for it is made smaller.
    """
    height, width = size
    first, second = how['scale']
    if how.get('keep_ratio', True):
        factor = min(max(first, second) / max(size), min(first, second) / min(size))
        scaled = scale_by(size, factor)
        if fixed and (scaled[0] > fixed[0] or scaled[1] > fixed[1]):
            scaled = scale_by(size, min(fixed[0] / height, fixed[1] / width))
            scaled = min(scaled[0], fixed[0]), min(scaled[1], fixed[1])
    else:
        scaled = (int(second), int(first))
        if fixed and (scaled[0] > fixed[0] or scaled[1] > fixed[1]):
            scaled = fixed
    divisor, least = how.get('divisor') or 1, how.get('pad_to') or (1, 1)
    height, width = (-(-max(sides) // divisor) * divisor for sides in zip(scaled, least))
    return Fit(scaled, fixed or (height, width))


def scale_by(size: Size, factor: float) -> Size:
    """Rounded half up, and never to nothing."""
    return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


def pack(images: Sequence[np.ndarray], metadata: Metadata, size: Size,
         pad_value: Union[float, Sequence[float]] = 0.0) -> np.ndarray:
    """Images as the network's input: normalized if the file does not do so itself, and padded at the right and bottom.

    Args:
        images: each (h, w, 3) uint8 in BGR, not larger than ``size``.
        metadata: of the model.
        size: (H, W) of the input.
        pad_value: of the padding: three numbers, as the graph is to get them, or one, of what is normalized, wherever
            that happens.

    Returns:
        (N, 3, H, W) float32.
    """
    packed = np.empty((len(images), 3, *size), np.float32)
    order = (2, 1, 0) if metadata.color == 'rgb' else (0, 1, 2)
    if isinstance(pad_value, (int, float)):
        pad_value = [mean + pad_value * std if metadata.inside else pad_value
                     for mean, std in zip(metadata.mean, metadata.std)]
    for image, planes in zip(images, packed):
        height, width = image.shape[:2]
        channels = cv2.split(image)
        for plane, index, mean, std, padding in zip(planes, order, metadata.mean, metadata.std, pad_value):
            inner = plane[:height, :width]
            inner[...] = channels[index]
            if not metadata.inside:
                inner -= np.float32(mean)
                inner /= np.float32(std)
            plane[height:] = padding
            plane[:height, width:] = padding
    return packed
