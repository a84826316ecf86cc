#!/usr/bin/env python
"""What looking into an annotation file before a run costs, beside what loading it takes anyway.

A file of COCO's size (118,287 images with 7 annotations each, polygons of 20 corners) is written to a temporary
folder, then looked into, read by pycocotools and loaded by mmdet's CocoDataset, in turn. Printed are medians and their
ratios.
"""
import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import _process  # noqa: F401
import numpy as np
from PIL import Image

from micronet_mm.engine.checks.data import check_data
from micronet_mm.validation import COUNT

CLASSES = 80
PER_IMAGE, CORNERS = 7, 20


def write_file(path: Path, images: int) -> None:
    """Boxes and polygons at random places."""
    rng = np.random.default_rng(0)
    annotations = []
    for index in range(images * PER_IMAGE):
        x, y, w, h = rng.uniform(1, 300, 4).round(2).tolist()
        corners = rng.uniform(0, 600, 2 * CORNERS).round(2).tolist()
        annotations.append(dict(id=index, image_id=index // PER_IMAGE, category_id=index % CLASSES, bbox=[x, y, w, h],
                                area=w * h, iscrowd=0, segmentation=[corners]))
    path.write_text(json.dumps(dict(
        images=[dict(id=index, file_name=f'{index:012}.jpg', width=640, height=480) for index in range(images)],
        annotations=annotations, categories=[dict(id=index, name=f'class {index}') for index in range(CLASSES)])))


def seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        function()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=COUNT, default=118_287)
    parser.add_argument('--rounds', type=COUNT, default=3)
    args = parser.parse_args()
    from mmdet.datasets import CocoDataset
    from mmengine.config import Config
    from pycocotools.coco import COCO
    names = tuple(f'class {index}' for index in range(CLASSES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'annotations.json'
        write_file(path, args.images)
        Image.new('RGB', (640, 480)).save(Path(folder) / 'image.jpg')
        image = (Path(folder) / 'image.jpg').read_bytes()
        for index in range(args.images):
            (Path(folder) / f'{index:012}.jpg').write_bytes(image)
        dataset = dict(ann_file=str(path), data_prefix=dict(img=folder), metainfo=dict(classes=names), pipeline=[])

        def look() -> None:
            loader = dict(dataset=dict(type='CocoDataset', **dataset))
            check_data(Config(dict(default_scope='mmdet', work_dir=folder, train_dataloader=loader)),
                       ['train_dataloader'], [])

        times = [(seconds(look), seconds(lambda: COCO(str(path))), seconds(lambda: CocoDataset(**dataset)))
                 for _ in range(args.rounds)]
        size = path.stat().st_size / 2**20
    looking, reading, loading = (statistics.median(column) for column in zip(*times))
    print(f'{args.images} images, {size:.0f} MiB: looking {looking:.2f} s; reading by pycocotools {reading:.2f} s '
          f'({looking / reading:.1%}), loading by mmdet {loading:.2f} s ({looking / loading:.1%})')


if __name__ == '__main__':
    main()
