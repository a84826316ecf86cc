"""Annotations in COCO's format."""
from typing import Optional

import pycocotools.coco


class COCO(pycocotools.coco.COCO):
    """pycocotools' COCO, which takes annotations that do not say whether they are crowds.

    Args:
        annotation_file: JSON file; None for no annotations.
    """

    def __init__(self, annotation_file: Optional[str] = None) -> None:
        super().__init__(annotation_file)
        self.anno_file = [annotation_file]
        for annotation in self.dataset.get('annotations', []):
            annotation.setdefault('iscrowd', 0)
