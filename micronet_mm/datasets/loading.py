"""Loading images that may be broken."""
import logging
import os
import os.path as osp
from functools import cache
from hashlib import blake2b
from mmap import mmap
from typing import Optional

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS
from PIL import Image

from micronet_mm.validation import BOOL, checked

SKIPPED_SLOTS = 2**16

# How files that begin with these two bytes end: JPEG and PNG.
ENDINGS = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}


class UnreadableImageError(OSError):
    """An image that is missing or cannot be decoded; the message names it and says what to do."""


@cache
def skipped_images() -> torch.Tensor:
    """Return the table of skipped images, a number made of each path, in memory that dataloader workers share.

    An image is counted once, however often it is loaded. The memory belongs to no file, so that a full or read-only
    /dev/shm does not matter.
    """
    return torch.frombuffer(mmap(-1, 8 * SKIPPED_SLOTS), dtype=torch.int64)


def check_whole(path: str) -> None:
    """Raise OSError for a JPEG or PNG that was cut off; OpenCV fills what is missing with grey and says nothing."""
    if not osp.isfile(path):  # in some remote storage
        return
    with open(path, 'rb') as file:
        start = file.read(2)
        file.seek(-min(32, osp.getsize(path)), os.SEEK_END)
        end = file.read()
    if ENDINGS.get(start, b'') not in end:  # or something follows the picture: Pillow knows
        with Image.open(path) as image:
            image.load()


def note_skipped(path: str, table: torch.Tensor) -> None:
    """Enter an image in the table of :func:`skipped_images`, unless it is there."""
    number = int.from_bytes(blake2b(path.encode(errors='surrogateescape'), digest_size=8).digest(), 'big') >> 1 or 1
    start = number % len(table)
    for slot in (*range(start, len(table)), *range(start)):
        if table[slot] == 0:
            table[slot] = number
        if table[slot] == number:  # not so if another worker took the place meanwhile
            return


@TRANSFORMS.register_module()
class LoadImageOrSkip(LoadImageFromFile):
    """``LoadImageFromFile`` that skips broken files in training.

    ``BrokenImageHook`` counts the skipped images and ends the run if there are too many.

    Args:
        skip: if True (for training), log a broken image and return None; MMEngine's datasets then take another image.
            If False (for evaluation), raise.
        **kwargs: as for mmcv's LoadImageFromFile, less ``ignore_empty``.

    Raises:
        UnreadableImageError: with ``skip=False``, for a missing or undecodable image.

    Example:
        >>> train_pipeline = [dict(type='LoadImageOrSkip')]
        >>> test_pipeline = [dict(type='LoadImageOrSkip', skip=False)]
    """

    @checked(skip=BOOL)
    def __init__(self, skip: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.skip = skip
        self.skipped = skipped_images()  # held here so that a worker that is spawned, not forked, gets the same memory

    def transform(self, results: dict) -> Optional[dict]:
        """Load the image at ``results['img_path']``, unless an inferencer brought it as ``results['img']``."""
        if 'img' in results:
            results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
            return results
        path = results['img_path']
        try:
            loaded = super().transform(results)
            check_whole(path)
            return loaded
        except Exception as error:
            fault = 'cannot be decoded' if osp.exists(path) else 'does not exist'
            if self.skip:
                note_skipped(str(path), self.skipped)
                print_log(f'the image {path} {fault} and is skipped', 'current', logging.WARNING)
                return None
            raise UnreadableImageError(f'the image {path} {fault}; replace it or take it out of the set.') from error
