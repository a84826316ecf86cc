"""COCO's metrics for keypoints."""
from collections import defaultdict
from typing import Optional

import numpy as np
import pycocotools.cocoeval

from .coco import COCO

MODES = ('keypoints', 'bbox', 'segm')


class COCOeval(pycocotools.cocoeval.COCOeval):
    """pycocotools' COCOeval with the keypoints of other datasets.

    Args:
        cocoGt: the truth.
        cocoDt: the results.
        iouType: 'keypoints', 'bbox' or 'segm'.
        sigmas: tolerance of each keypoint; None for COCO's 17.
        use_area: False for datasets whose annotations have no area; 0.53 of the box is taken for it then.

    Raises:
        ValueError: for xtcocotools' other modes.
    """

    def __init__(self, cocoGt: Optional[COCO] = None, cocoDt: Optional[COCO] = None, iouType: str = 'keypoints',
                 sigmas: Optional[np.ndarray] = None, use_area: bool = True) -> None:
        if iouType not in MODES:
            raise ValueError(f"iou_type={iouType!r} needs xtcocotools, which is not installed or does not load; "
                             f"micronet_mm's fallback has {', '.join(MODES)}. Build it from source: pip install cython "
                             "'setuptools<81' && pip install --no-build-isolation --no-binary xtcocotools xtcocotools")
        super().__init__(cocoGt, cocoDt, iouType)
        self.use_area = use_area
        if sigmas is not None:
            self.params.kpt_oks_sigmas = np.asarray(sigmas)

    def _prepare(self) -> None:
        super()._prepare()
        if self.params.iouType != 'keypoints':
            return
        # pycocotools takes 0 for 'matched with nothing', but some datasets number their annotations from 0.
        self._gts = defaultdict(list, {key: [dict(gt, id=gt['id'] + 1, area=self.area(gt)) for gt in group]
                                       for key, group in self._gts.items()})
        self._dts = defaultdict(list, {key: [dt for dt in group if np.any(np.array(dt['keypoints'][2::3]) > 0)]
                                       for key, group in self._dts.items()})

    def area(self, gt: dict) -> float:
        if self.use_area and 'area' in gt:
            return gt['area']
        return gt['bbox'][2] * gt['bbox'][3] * 0.53
