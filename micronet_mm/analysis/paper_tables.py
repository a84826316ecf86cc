"""The paper's tables beside what this package builds: parameters and multiply-adds, ours and the paper's.

Accuracies are the paper's, always: nothing here was trained on ImageNet.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

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
        madds: the paper's figure in millions, at 224 x 224.
        top1: the paper's ImageNet top-1 accuracy in percent.
    """
    name: str
    config: str
    params: Optional[float] = None
    madds: Optional[float] = None
    top1: Optional[float] = None


M2 = 'imagenet_micronet_m2'
ABLATION = f'ablation/{M2}'

TITLES = {
    3: 'Table 3b: groups in proportion to lambda, on MicroNet-M2 with ReLU',
    4: 'Table 4: activation functions, on MicroNet-M2',
    5: 'Table 5: which activations are Dynamic Shift-Max, on MicroNet-M2',
    6: 'Table 6: J and K of Dynamic Shift-Max, on MicroNet-M2',
    7: 'Table 7: ImageNet',
}

# The text of the paper that we have garbles the check marks of Table 5: its rows are placed by their cost and by what
# section 6.1.1 says of them. Of Table 6 only the rows that also stand elsewhere can be read.
# The widths of Table 3b were not published: ours multiply all of M2's by one number that brings the cost near 10.5M.
TABLES = {
    3: (
        PaperRow('lambda = 0.25', f'{ABLATION}_relu_lambda_025', 1.5, 10.5, 50.2),
        PaperRow('lambda = 0.5', f'{ABLATION}_relu_lambda_050', 1.7, 10.6, 51.6),
        PaperRow('lambda = 1', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('lambda = 2', f'{ABLATION}_relu_lambda_200', 2.1, 10.5, 50.6),
        PaperRow('lambda = 4', f'{ABLATION}_relu_lambda_400', 2.2, 10.7, 47.6),
    ),
    4: (
        PaperRow('ReLU', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('SE + ReLU', f'{ABLATION}_se_relu', 2.1, 10.9, 54.4),
        PaperRow('Dynamic ReLU', f'{ABLATION}_dynamic_relu'),
        PaperRow('Dynamic Shift-Max', M2, 2.4, 12.4, 58.5),
    ),
    5: (
        PaperRow('none', f'{ABLATION}_relu', 1.8, 10.5, 51.7),
        PaperRow('A1', f'{ABLATION}_a1', 2.1, 11.2, 54.8),
        PaperRow('A2', f'{ABLATION}_a2', 2.1, 11.3, 55.9),
        PaperRow('A3', f'{ABLATION}_a3', 2.0, 10.6, 53.3),
        PaperRow('A1, A2', f'{ABLATION}_a1_a2'),
        PaperRow('A1, A3', f'{ABLATION}_a1_a3', 2.2, 11.4, 55.5),
        PaperRow('A2, A3', f'{ABLATION}_a2_a3', 2.3, 12.2, 57.9),
        PaperRow('A1, A2, A3', M2, 2.4, 12.4, 58.5),
    ),
    6: (
        PaperRow('J = 1, K = 1', f'{ABLATION}_se_relu', 2.1, 10.9, 54.4),
        PaperRow('J = 1, K = 2', f'{ABLATION}_dynamic_relu'),
        PaperRow('J = 1, K = 3', f'{ABLATION}_j1_k3'),
        PaperRow('J = 2, K = 1', f'{ABLATION}_j2_k1'),
        PaperRow('J = 2, K = 2', M2, 2.4, 12.4, 58.5),
        PaperRow('J = 2, K = 3', f'{ABLATION}_j2_k3'),
        PaperRow('J = 3, K = 1', f'{ABLATION}_j3_k1'),
        PaperRow('J = 3, K = 2', f'{ABLATION}_j3_k2'),
        PaperRow('J = 3, K = 3', f'{ABLATION}_j3_k3'),
    ),
    7: (
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
        PaperRow('MicroNet-M3', 'imagenet_micronet_m3', 2.6, 21, 62.5),
    ),
}


def count_rows(rows: tuple[PaperRow, ...], configs: Path) -> list[tuple[PaperRow, Cost]]:
    """Every row with what the model of its config costs at 224 x 224."""
    return [(row, count_config(Config.fromfile(configs / f'{row.config}.py')).total) for row in rows]


def records(counted: list[tuple[PaperRow, Cost]]) -> list[dict]:
    """The rows for a JSON file, with relative differences to the paper."""
    return [
        dict(name=row.name, config=f'configs/{row.config}.py', params=cost.params, madds=cost.madds,
             paper_params_millions=row.params, paper_madds_millions=row.madds,
             params_difference=difference(cost.params, row.params), madds_difference=difference(cost.madds, row.madds),
             paper_top1=row.top1) for row, cost in counted
    ]


def difference(ours: int, paper: Optional[float]) -> Optional[float]:
    """Relative to the paper's figure in millions; None where it has none."""
    return None if paper is None else round(ours / (paper * 1e6) - 1, 4)


def markdown(table: int, counted: list[tuple[PaperRow, Cost]]) -> str:
    """The table as Markdown."""
    lines = [
        f'### {TITLES[table]}', '',
        '| model | config | parameters | the paper | difference | MAdds | the paper | difference | top-1 (the paper) |',
        '|---|---|---|---|---|---|---|---|---|'
    ]
    for row, cost in counted:
        lines.append(f'| {row.name} | [{Path(row.config).name}](../configs/{row.config}.py) '
                     f'| {cost.params / 1e6:.2f}M | {paper_figure(row.params)} | {percent(cost.params, row.params)} '
                     f'| {cost.madds / 1e6:.2f}M | {paper_figure(row.madds)} | {percent(cost.madds, row.madds)} '
                     f'| {"-" if row.top1 is None else row.top1} |')
    return '\n'.join(lines) + '\n'


def paper_figure(millions: Optional[float]) -> str:
    return '-' if millions is None else f'{millions}M'


def percent(ours: int, paper: Optional[float]) -> str:
    value = difference(ours, paper)
    return '-' if value is None else f'{value:+.1%}'
