"""What an export is compared on: random and real input, at the sizes that the file takes."""
from typing import Any, Optional

import cv2
import numpy as np
import torch
from torch import Tensor


def real_image(path: Optional[str] = None) -> np.ndarray:
    """An image (H, W, 3) in BGR: a file, or a drawn scene.

    Raises:
        ValueError: if the file is no image that OpenCV can read.
    """
    if path is not None:
        image = cv2.imread(path)
        if image is None:
            raise ValueError(f'{path} is no image that OpenCV can read; name another, or leave --image out.')
        return image
    from micronet_mm.datasets.figures import draw_scene
    return draw_scene(np.random.default_rng(0))[0]


def examples(real: np.ndarray, description: dict[str, Any], size: tuple[int, int], batch: int, open_size: bool,
             open_batch: bool) -> list[Tensor]:
    """Images as the file takes them: random and real, and where it is open also of other sizes and in other numbers."""
    sizes = [size, (size[0] + 32, size[1] + 64), (max(64, size[0] // 64 * 32), size[1])] if open_size else [size]
    numbers = [batch, batch + 2] if open_batch else [batch]
    generator = torch.Generator().manual_seed(0)
    found = []
    for height, width in sizes:
        for number in numbers:
            noise = torch.rand(number, 3, height, width, generator=generator) * 255
            picture = torch.from_numpy(cv2.resize(real, (width, height)).astype(np.float32)).permute(2, 0, 1)
            if description['input']['color'] == 'rgb':
                picture = picture.flip(0)
            # Images of a batch differ, so that one that is taken for another is noticed.
            pictures = torch.stack([picture.roll(13 * index, 2) for index in range(number)])
            found += [noise, pictures]
    if description['input']['normalization'] == 'outside':
        mean, std = (torch.tensor(description['input'][name]).view(3, 1, 1) for name in ('mean', 'std'))
        found = [(image - mean) / std for image in found]
    return found
