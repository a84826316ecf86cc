"""The paper's tables beside what this package builds: parameters and multiply-adds, ours and the paper's.

Accuracies are the paper's, always: nothing here was trained on ImageNet.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from mmengine.config import Config

from .complexity import Cost
from .from_config import count_config


@dataclass(frozen=True)
class PaperRow:
    """One line of a table.

    Attributes:
        name: as the paper calls it.
        config: path below ``configs/``, without ``.py``.
        params: the paper's figure in millions; None where it is not printed or cannot be read.
        madds: the paper's figure in millions.
        accuracy: the paper's, in the table's metric.
        backbone: of a detector, the config of its backbone's ImageNet classifier, whose cost the paper quotes.
    """
    name: str
    config: str
    params: Optional[float] = None
    madds: Optional[float] = None
    accuracy: Optional[float] = None
    backbone: Optional[str] = None


@dataclass(frozen=True)
class PaperTable:
    """A table: what it is about, its lines, and the metric of its accuracies."""
    title: str
    rows: tuple[PaperRow, ...]
    metric: str = 'top-1'


class Counted(NamedTuple):
    """A line with what the package's model costs, and the whole detector if it is one."""
    row: PaperRow
    cost: Cost
    detector: Optional[Cost] = None


M2, M3, V3 = 'imagenet_micronet_m2', 'imagenet_micronet_m3', 'imagenet_mobilenetv3_small_100'
ABLATION = f'ablation/{M2}'

# The text of the paper that we have garbles the check marks of Table 5: its rows are placed by their cost and by what
# section 6.1.1 says of them. Of Tables 3c and 6 only the rows that also stand elsewhere can be read, of G = 2 in Table
# 3a the parameters alone, and the baseline's mAP in Table 8 cannot.
# The widths of Tables 2 and 3 were not published, but for MicroNet-M2's own. Ours of Table 3b multiply all of M2's by
# one number that brings the cost near 10.5M; those of Tables 2, 3a and 3c are found by width_search.py.
TABLES = {
    '2': PaperTable('the path from MobileNet to MicroNet', (
        PaperRow('MobileNetV2', 'ablation/imagenet_mobilenetv2', madds=10.6, accuracy=44.9),
        PaperRow('+ micro-factorized depthwise', f'{ABLATION}_relu_dense_pointwise', 1.7, 10.6, 46.4),
        PaperRow('+ micro-factorized pointwise', f'{ABLATION}_relu_lite_nowhere', 1.7, 10.6, 50.0),
        PaperRow('+ lite combination at low levels', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('+ static Shift-Max', f'{ABLATION}_static', 1.9, 11.8, 54.4),
        PaperRow('+ dynamic Shift-Max', M2, 2.4, 12.4, 58.5),
    )),
    '3a': PaperTable('a fixed number of groups, on MicroNet-M2 with ReLU', (
        PaperRow('G = 1', f'{ABLATION}_relu_groups_1', 1.3, 10.6, 48.8),
        PaperRow('G = 2', f'{ABLATION}_relu_groups_2', 1.5),
        PaperRow('G = 4', f'{ABLATION}_relu_groups_4', 1.7, 10.6, 50.7),
        PaperRow('G = 8', f'{ABLATION}_relu_groups_8', 1.7, 10.6, 50.8),
        PaperRow('G = sqrt(C / R)', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
    )),
    '3b': PaperTable('groups in proportion to lambda, on MicroNet-M2 with ReLU', (
        PaperRow('lambda = 0.25', f'{ABLATION}_relu_lambda_025', 1.5, 10.5, 50.2),
        PaperRow('lambda = 0.5', f'{ABLATION}_relu_lambda_050', 1.7, 10.6, 51.6),
        PaperRow('lambda = 1', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('lambda = 2', f'{ABLATION}_relu_lambda_200', 2.1, 10.5, 50.6),
        PaperRow('lambda = 4', f'{ABLATION}_relu_lambda_400', 2.2, 10.7, 47.6),
    )),
    '3c': PaperTable('where the lite combination is used, on MicroNet-M2 with ReLU', (
        PaperRow('nowhere', f'{ABLATION}_relu_lite_nowhere', 1.7, 10.6, 50.0),
        PaperRow('at low levels', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('at low and high levels', f'{ABLATION}_relu_lite_everywhere'),
    )),
    '4': PaperTable('activation functions, on MicroNet-M2', (
        PaperRow('ReLU', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('SE + ReLU', f'{ABLATION}_se_relu', 2.1, 10.9, 54.4),
        PaperRow('Dynamic ReLU', f'{ABLATION}_dynamic_relu'),
        PaperRow('Dynamic Shift-Max', M2, 2.4, 12.4, 58.5),
    )),
    '5': PaperTable('which activations are Dynamic Shift-Max, on MicroNet-M2', (
        PaperRow('none', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('A1', f'{ABLATION}_a1', 2.1, 11.2, 54.8),
        PaperRow('A2', f'{ABLATION}_a2', 2.1, 11.3, 55.9),
        PaperRow('A3', f'{ABLATION}_a3', 2.0, 10.6, 53.3),
        PaperRow('A1, A2', f'{ABLATION}_a1_a2'),
        PaperRow('A1, A3', f'{ABLATION}_a1_a3', 2.2, 11.4, 55.5),
        PaperRow('A2, A3', f'{ABLATION}_a2_a3', 2.3, 12.2, 57.9),
        PaperRow('A1, A2, A3', M2, 2.4, 12.4, 58.5),
    )),
    '6': PaperTable('J and K of Dynamic Shift-Max, on MicroNet-M2', (
        PaperRow('J = 1, K = 1', f'{ABLATION}_se_relu', 2.1, 10.9, 54.4),
        PaperRow('J = 1, K = 2', f'{ABLATION}_dynamic_relu'),
        PaperRow('J = 1, K = 3', f'{ABLATION}_j1_k3'),
        PaperRow('J = 2, K = 1', f'{ABLATION}_j2_k1'),
        PaperRow('J = 2, K = 2', M2, 2.4, 12.4, 58.5),
        PaperRow('J = 2, K = 3', f'{ABLATION}_j2_k3'),
        PaperRow('J = 3, K = 1', f'{ABLATION}_j3_k1'),
        PaperRow('J = 3, K = 2', f'{ABLATION}_j3_k2'),
        PaperRow('J = 3, K = 3', f'{ABLATION}_j3_k3'),
    )),
    '7': PaperTable('ImageNet', (
        PaperRow('MobileNetV3-Small 0.15x', 'imagenet_mobilenetv3_small_015', 1.0, 4, 33.7),
        PaperRow('MicroNet-M0', 'imagenet_micronet_m0', 1.0, 4, 46.6),
        PaperRow('MobileNetV3-Small 0.2x', 'imagenet_mobilenetv3_small_020', 1.2, 6, 41.1),
        PaperRow('MicroNet-M1#', 'imagenet_micronet_m1_sharp', 1.2, 5, 49.4),
        PaperRow('MicroNet-M1', 'imagenet_micronet_m1', 1.8, 6, 51.4),
        PaperRow('MobileNetV3-Small 0.35x', 'imagenet_mobilenetv3_small_035', 1.4, 12, 49.8),
        PaperRow('MicroNet-M2#', 'imagenet_micronet_m2_sharp', 1.4, 11, 58.2),
        PaperRow('MicroNet-M2', M2, 2.4, 12, 59.4),
        PaperRow('MobileNetV3-Small 0.5x', 'imagenet_mobilenetv3_small_050', 1.6, 21, 58.0),
        PaperRow('MicroNet-M3#', 'imagenet_micronet_m3_sharp', 1.6, 20, 61.3),
        PaperRow('MicroNet-M3', M3, 2.6, 21, 62.5),
    )),
    '8': PaperTable('COCO object detection', (
        PaperRow('Faster R-CNN, MobileNetV3-Small 1.0x', 'faster_rcnn_mobilenetv3_small', madds=56, backbone=V3),
        PaperRow('Faster R-CNN, MicroNet-M3', 'faster_rcnn_micronet_m3', madds=21, accuracy=26.2, backbone=M3),
        PaperRow('Faster R-CNN, MicroNet-M2', 'faster_rcnn_micronet_m2', madds=12, accuracy=22.7, backbone=M2),
        PaperRow('RetinaNet, MobileNetV3-Small 1.0x', 'retinanet_mobilenetv3_small', madds=56, backbone=V3),
        PaperRow('RetinaNet, MicroNet-M3', 'retinanet_micronet_m3', madds=21, accuracy=25.4, backbone=M3),
        PaperRow('RetinaNet, MicroNet-M2', 'retinanet_micronet_m2', backbone=M2),
    ), 'mAP'),
    '9': PaperTable('COCO keypoints', (
        PaperRow('MobileNetV3-Small 1.0x', 'keypoint_mobilenetv3_small', 2.1, 726.9, 57.1),
        PaperRow('MicroNet-M3', 'keypoint_micronet_m3', 2.2, 163.2, 58.7),
        PaperRow('MicroNet-M2', 'keypoint_micronet_m2', 1.8, 116.8, 54.9),
        PaperRow('MicroNet-M1', 'keypoint_micronet_m1'),
        PaperRow('MicroNet-M0', 'keypoint_micronet_m0'),
    ), 'AP'),
}


def count_rows(rows: tuple[PaperRow, ...], configs: Path) -> list[Counted]:
    """Every row with what the model of its config costs on one image.

    Classifiers are counted at 224 x 224, detectors at 800 x 1333 and keypoint models at 256 x 192.
    """

    def cost(config: str) -> Cost:
        return count_config(Config.fromfile(configs / f'{config}.py')).total

    return [Counted(row, cost(row.backbone), cost(row.config)) if row.backbone else Counted(row, cost(row.config))
            for row in rows]


def records(counted: list[Counted]) -> list[dict]:
    """The rows for a JSON file, with relative differences to the paper."""
    found = []
    for row, cost, detector in counted:
        record = dict(name=row.name, config=f'configs/{row.config}.py', params=cost.params, madds=cost.madds,
                      paper_params_millions=row.params, paper_madds_millions=row.madds,
                      params_difference=difference(cost.params, row.params),
                      madds_difference=difference(cost.madds, row.madds), paper_accuracy=row.accuracy)
        if detector:
            record.update(detector_params=detector.params, detector_madds=detector.madds)
        found.append(record)
    return found


def difference(ours: int, paper: Optional[float]) -> Optional[float]:
    """Relative to the paper's figure in millions; None where it has none."""
    return None if paper is None else round(ours / (paper * 1e6) - 1, 4)


def markdown(table: str, counted: list[Counted]) -> str:
    """The table as Markdown."""
    cells = [detector_cells(line) if line.detector else model_cells(line) for line in counted]
    header = [*(name for name, _ in cells[0]), f'{TABLES[table].metric} (the paper)']
    lines = [f'## Table {table}: {TABLES[table].title}', '',
             f'| model | config | {" | ".join(header)} |', '|---' * (len(header) + 2) + '|']
    for (row, _, _), values in zip(counted, cells):
        accuracy = '-' if row.accuracy is None else row.accuracy
        lines.append(f'| {row.name} | [{Path(row.config).name}](../configs/{row.config}.py) '
                     f'| {" | ".join(text for _, text in values)} | {accuracy} |')
    return '\n'.join(lines) + '\n'


Cells = list[tuple[str, str]]


def model_cells(line: Counted) -> Cells:
    """Columns and their text for a whole network."""
    row, cost, _ = line
    return [*compared('parameters', cost.params, row.params), *compared('MAdds', cost.madds, row.madds)]


def detector_cells(line: Counted) -> Cells:
    """Columns and their text for a detector."""
    row, cost, detector = line
    return [
        *compared('backbone MAdds', cost.madds, row.madds),
        ('detector parameters', f'{detector.params / 1e6:.2f}M'),
        ('detector MAdds at 800 x 1333', f'{detector.madds / 1e9:.1f}G'),
    ]


def compared(name: str, ours: int, paper: Optional[float]) -> Cells:
    """Our figure, the paper's and the difference."""
    return [(name, f'{ours / 1e6:.2f}M'), ('the paper', paper_figure(paper)), ('difference', percent(ours, paper))]


def paper_figure(millions: Optional[float]) -> str:
    return '-' if millions is None else f'{millions}M'


def percent(ours: int, paper: Optional[float]) -> str:
    value = difference(ours, paper)
    return '-' if value is None else f'{value:+.1%}'
