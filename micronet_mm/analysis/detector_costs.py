"""What small detectors cost, ours beside those that people use today.

Accuracies are those that others publish for their models on COCO; ours were not trained on it.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from mmengine.config import Config
from mmengine.hub import get_config

from .from_config import count_config


@dataclass(frozen=True)
class DetectorRow:
    """One detector.

    Attributes:
        name: as its authors call it.
        size: height and width of the image.
        config: path below ``configs/`` or, with 'mmdet::' before it, below mmdet's; None where it is in neither.
        params: published, in millions, where there is no config to count.
        madds: published, in millions, where there is no config to count.
        ap: COCO's AP on val2017 as published.
        source: who published it.
    """
    name: str
    size: int
    config: Optional[str] = None
    params: Optional[float] = None
    madds: Optional[float] = None
    ap: Optional[str] = None
    source: str = ''


class CountedDetector(NamedTuple):
    """A row with its parameters and multiply-adds, counted or published."""
    row: DetectorRow
    params: float
    madds: float


# NanoDet counts a multiply-add as two FLOPs: 0.72G, 0.9G and 1.52G.
NANODET = 'github.com/RangiLyu/nanodet'
DETECTORS = (
    *(DetectorRow(f'MicroDet-{arch.upper()}', 320, f'micro_det_{arch}') for arch in ('m0', 'm1', 'm2', 'm3')),
    DetectorRow('MicroDet-M3', 416, 'micro_det_m3_416'),
    DetectorRow('MicroDet-M0, people', 320, 'micro_det_m0_person'),
    DetectorRow('MicroDet-M3, people', 320, 'micro_det_m3_person'),
    DetectorRow('RetinaNet, MicroNet-M3', 320, 'retinanet_micronet_m3', ap='25.4 at 800 x 1333', source='the paper'),
    DetectorRow('NanoDet-m', 320, None, 0.95, 360, '20.6', NANODET),
    DetectorRow('NanoDet-Plus-m', 320, None, 1.17, 450, '27.0', NANODET),
    DetectorRow('NanoDet-Plus-m', 416, None, 1.17, 760, '30.4', NANODET),
    DetectorRow('SSD-lite, MobileNetV2', 320, 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco', ap='21.3',
                source='mmdet'),
    DetectorRow('YOLOX-Nano', 416, 'mmdet::yolox/yolox_nano_8xb8-300e_coco', ap='25.8',
                source='github.com/Megvii-BaseDetection/YOLOX'),
    DetectorRow('RTMDet-tiny', 320, 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco', ap='41.1 at 640', source='mmdet'),
)


def count_detectors(configs: Path) -> list[CountedDetector]:
    """Count the detectors that have a config.

    Args:
        configs: the package's folder of configs.
    """
    return [count_detector(row, configs) for row in DETECTORS]


def count_detector(row: DetectorRow, configs: Path) -> CountedDetector:
    if row.config is None:
        return CountedDetector(row, row.params * 1e6, row.madds * 1e6)
    file = f'{row.config}.py'
    cfg = get_config(file) if '::' in row.config else Config.fromfile(configs / file)
    total = count_config(cfg, (row.size, row.size)).total
    return CountedDetector(row, total.params, total.madds)


def markdown(counted: list[CountedDetector]) -> str:
    """The table as Markdown."""
    lines = ['| detector | config | input | multiply-adds | parameters | COCO AP, as published |', '|---' * 6 + '|']
    for row, params, madds in counted:
        config = f'`{row.config}`' if row.config else '(published figures)'
        ap = f'{row.ap} ({row.source})' if row.ap else 'not trained on COCO'
        lines.append(f'| {row.name} | {config} | {row.size} | {madds / 1e6:,.1f}M | {params / 1e6:.2f}M | {ap} |')
    return '\n'.join(lines) + '\n'
