"""Loading images that may be broken."""
import logging
import os.path as osp
from typing import Optional

from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS


class UnreadableImageError(OSError):
    """An image that is missing or cannot be decoded; the message names it and says what to do."""


@TRANSFORMS.register_module()
class LoadImageOrSkip(LoadImageFromFile):
    """``LoadImageFromFile`` for which one broken file among many is no reason to end a training run.

    Args:
        skip: in training (the default), log a broken image and return None, for which MMEngine's datasets take another
            one. With ``skip=False``, for evaluation, raise.
        **kwargs: as for mmcv's LoadImageFromFile, less ``ignore_empty``.

    Raises:
        UnreadableImageError: with ``skip=False``, for a missing or undecodable image.

    Example:
        >>> train_pipeline = [dict(type='LoadImageOrSkip')]
        >>> test_pipeline = [dict(type='LoadImageOrSkip', skip=False)]
    """

    def __init__(self, skip: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.skip = skip

    def transform(self, results: dict) -> Optional[dict]:
        """Load the image at ``results['img_path']``."""
        try:
            return super().transform(results)
        except Exception as error:
            path = results['img_path']
            fault = 'cannot be decoded' if osp.exists(path) else 'does not exist'
            if self.skip:
                print_log(f'the image {path} {fault} and is skipped', 'current', logging.WARNING)
                return None
            raise UnreadableImageError(f'the image {path} {fault}; replace it or take it out of the set.') from error
