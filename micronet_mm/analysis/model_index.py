"""What mim and MMEngine read of the package: ``model-index.yml`` and a metafile for each family of configs.

Parameters and multiply-adds are counted. Accuracies are the paper's and say so, except those of bundled weights.
"""
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Optional

import yaml
from mmengine.config import Config

from micronet_mm.checkpoint.bundled import SCHEME, bundled_weights

from .from_config import count_config
from .paper_tables import TABLES

PAPER = dict(URL='https://arxiv.org/abs/2108.05894',
             Title='MicroNet: Improving Image Recognition with Extremely Low FLOPs')
HEADER = "# Written by 'make tables'. Accuracies of (the paper) are the paper's; others are of bundled weights.\n"
INDEX = 'model-index.yml'


class Family(NamedTuple):
    """Configs that share a metafile.

    Attributes:
        prefix: of their paths below ``configs/``.
        name: of mim's collection.
        task: in the words of MMLab's metafiles.
        dataset: what they train on, likewise.
        metric: of the paper's accuracies.
    """
    prefix: str
    name: str
    task: str
    dataset: str
    metric: str


CLASSIFICATION = ('Image Classification', 'ImageNet-1k', 'Top 1 Accuracy (the paper)')
DETECTION = ('Object Detection', 'COCO', 'box AP (the paper)')
FAMILIES = dict(
    imagenet=Family('imagenet_micronet', 'MicroNet', *CLASSIFICATION),
    mobilenetv3_small=Family('imagenet_mobilenetv3', 'MobileNetV3-Small', *CLASSIFICATION),
    ablation=Family('ablation/imagenet', 'MicroNet ablations', *CLASSIFICATION),
    tiny_imagenet=Family('trained/tiny_imagenet', 'Tiny-ImageNet', 'Image Classification', 'Tiny-ImageNet', ''),
    retinanet=Family('retinanet', 'RetinaNet with MicroNet', *DETECTION),
    faster_rcnn=Family('faster_rcnn', 'Faster R-CNN with MicroNet', *DETECTION),
    micro_det=Family('micro_det', 'MicroDet', *DETECTION),
    micro_det_ablation=Family('ablation/micro_det', 'MicroDet ablations', *DETECTION),
    keypoint=Family('keypoint', 'Keypoints with MicroNet', 'Keypoint Detection', 'COCO', 'AP (the paper)'),
    demo=Family('demo/', 'MicroNet demos', 'Demo', 'generated pictures or digits', ''),
)
# The ablations train M2 for half as long as Table 7, so its row there counts; the last one with the name does.
ACCURACIES = {row.config: row.accuracy for table in TABLES.values() for row in table.rows}


def metafile(family: Family, configs: Path, names: Iterable[str],
             size_of: Callable[[Config], tuple[int, int]]) -> dict[str, Any]:
    """The metafile of a family.

    Args:
        family: one of :data:`FAMILIES`.
        configs: the folder of configs.
        names: of the family's configs, paths below that folder without ``.py``.
        size_of: gives the height and width to count a config at.
    """
    collection = dict(Name=family.name, Metadata={'Training Data': family.dataset}, Paper=PAPER)
    return dict(Collections=[collection], Models=[model(family, configs, name, size_of) for name in names])


def model(family: Family, configs: Path, name: str, size_of: Callable[[Config], tuple[int, int]]) -> dict[str, Any]:
    cfg = Config.fromfile(configs / f'{name}.py')
    height, width = size_of(cfg)
    cost = count_config(cfg, (height, width)).total
    entry = {
        'Name': Path(name).name,
        'In Collection': family.name,
        'Config': f'configs/{name}.py',
        'Metadata': {'Parameters': cost.params, 'Multiply-Adds': cost.madds, 'Input Size': f'{height} x {width}'},
    }
    accuracy: Optional[float] = ACCURACIES.get(name)
    if accuracy is not None:
        entry['Results'] = [dict(Task=family.task, Dataset=family.dataset, Metrics={family.metric: accuracy})]
    for weights in bundled_weights().values():
        if weights.config == f'{name}.py':
            metrics = {'Top 1 Accuracy': weights.top1, 'Top 5 Accuracy': weights.top5}
            entry['Results'] = [dict(Task=family.task, Dataset=family.dataset, Metrics=metrics)]
            entry['Weights'] = SCHEME + weights.name
    return entry


def family_of(name: str) -> str:
    """The key in :data:`FAMILIES` of a config, a path below ``configs/``; ValueError if it is of none."""
    for key, family in FAMILIES.items():
        if name.startswith(family.prefix):
            return key
    raise ValueError(f'configs/{name}.py is of no family; add one to FAMILIES in micronet_mm/analysis/model_index.py.')


def text(content: dict[str, Any]) -> str:
    return HEADER + yaml.dump(content, Dumper=Plain, sort_keys=False, width=120)


class Plain(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
