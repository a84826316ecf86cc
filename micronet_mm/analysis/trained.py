"""Results of our own trainings: records of runs, and the tables and figures of docs/trained.md."""
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from mmengine.config import Config

from .figure_drawing import SETTINGS, STYLES, new_figure
from .from_config import count_config

# Networks of the same cost in the paper: MicroNet and MobileNetV3-Small.
PAIRS = [('micronet_m0', 'mobilenetv3_small_015'), ('micronet_m1', 'mobilenetv3_small_020'),
         ('micronet_m2', 'mobilenetv3_small_035'), ('micronet_m3', 'mobilenetv3_small_050')]
TITLES = {f'micronet_m{number}': f'MicroNet-M{number}' for number in range(4)} | {
    f'mobilenetv3_small_{width}': f'MobileNetV3-Small {int(width) / 100:g}x' for width in ('015', '020', '035', '050')}
PREFIX = 'tiny_imagenet_'  # of configs


@dataclass
class Epoch:
    """What was measured in an epoch: mean training loss, top-1 and top-5 in percent, seconds of training."""
    loss: float
    top1: float
    top5: float
    seconds: float


@dataclass
class Run:
    """A training.

    Attributes:
        network: key of :data:`TITLES`.
        seed: of the random numbers.
        commit: commit of this repository at which it ran.
        machine: in words.
        epochs: in order.
    """
    network: str
    seed: int
    commit: str
    machine: str
    epochs: list[Epoch]

    @property
    def last(self) -> Epoch:
        return self.epochs[-1]

    @property
    def minutes(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs) / 60

    @property
    def file(self) -> str:
        return f'{self.network}_seed{self.seed}.json'


def read_run(folder: Path, commit: str, machine: str) -> Run:
    """Read a work dir that ``tools/train.py`` filled, with one or more resumed parts.

    Raises:
        ValueError: if the folder is no work dir, or an epoch is missing.
    """
    config = next(folder.glob(f'{PREFIX}*.py'), None)
    if config is None:
        raise ValueError(f'{folder} has no config {PREFIX}*.py: give the work dir of a training.')
    cfg = Config.fromfile(config)
    lines: dict[int, list[dict]] = {}
    accuracies: dict[int, dict] = {}
    for file in sorted(folder.glob('*/vis_data/scalars.json')):  # a resumed part repeats what was lost
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if 'accuracy/top1' in record:
                accuracies[record['step']] = record
            else:
                lines.setdefault(record['epoch'], []).append(record)
    iterations = min(record['iter'] for record in lines[2]) - min(record['iter'] for record in lines[1])
    epochs = []
    for epoch in range(1, cfg.train_cfg.max_epochs + 1):
        if epoch not in accuracies:
            raise ValueError(f'{folder} has no accuracy of epoch {epoch}: the training is not finished.')
        logged = {record['iter']: record for record in lines[epoch]}.values()
        # The log has the mean time of an iteration since the line before it.
        seconds = statistics.mean(record['time'] for record in logged) * iterations
        found = accuracies[epoch]
        epochs.append(Epoch(round(statistics.mean(record['loss'] for record in logged), 4),
                            round(found['accuracy/top1'], 2), round(found['accuracy/top5'], 2), round(seconds, 1)))
    return Run(config.stem.removeprefix(PREFIX), cfg.randomness.seed, commit, machine, epochs)


def write_run(run: Run) -> str:
    """Return a run as JSON, one line for each epoch."""
    head = {key: value for key, value in asdict(run).items() if key != 'epochs'}
    epochs = ',\n  '.join(json.dumps(asdict(epoch)) for epoch in run.epochs)
    return json.dumps(head)[:-1] + f', "epochs": [\n  {epochs}\n]}}\n'


def load_runs(folder: Path) -> list[Run]:
    """Read the recorded runs in a folder, by network and seed."""
    runs = []
    for file in sorted(folder.glob('*.json')):
        content = json.loads(file.read_text())
        runs.append(Run(**content | dict(epochs=[Epoch(**epoch) for epoch in content['epochs']])))
    return sorted(runs, key=lambda run: (list(TITLES).index(run.network), run.seed))


def costs(networks: Sequence[str], configs: Path, size: int = 128) -> dict[str, tuple[int, int]]:
    """Count parameters and multiply-adds of networks at ``size`` x ``size``."""
    found = {}
    for network in networks:
        total = count_config(Config.fromfile(configs / 'trained' / f'{PREFIX}{network}.py'), (size, size)).total
        found[network] = total.params, total.madds
    return found


def table(runs: Sequence[Run], configs: Path) -> str:
    """Return the table of all runs in Markdown."""
    counted = costs(sorted({run.network for run in runs}), configs)
    rows = ['| network | multiply-adds | parameters | seed | top-1 | top-5 | minutes | commit |', '|---' * 8 + '|']
    for run in runs:
        params, madds = counted[run.network]
        rows.append(f'| {TITLES[run.network]} | {madds / 1e6:.1f}M | {params / 1e6:.2f}M | {run.seed} | '
                    f'{run.last.top1:.2f} | {run.last.top5:.2f} | {run.minutes:.0f} | `{run.commit}` |')
    return '\n'.join(rows)


def mean_top1(runs: Sequence[Run]) -> dict[str, float]:
    """Average the final top-1 of each network over its seeds."""
    found: dict[str, list[float]] = {}
    for run in runs:
        found.setdefault(run.network, []).append(run.last.top1)
    return {network: statistics.mean(values) for network, values in found.items()}


def verdict(runs: Sequence[Run]) -> str:
    """Say in which of the trained pairs the paper's order holds."""
    top1 = mean_top1(runs)
    trained = [(ours, top1[ours] > top1[theirs]) for ours, theirs in PAIRS if {ours, theirs} <= top1.keys()]
    missed = [TITLES[ours] for ours, is_ahead in trained if not is_ahead]
    if not trained:
        return 'No pair is complete yet.'
    if not missed:
        return f'The paper\'s order holds in {len(trained)} of {len(trained)} trained pairs.'
    return f'The paper\'s order does not hold for {", ".join(missed)}, of {len(trained)} trained pairs.'


def pairs_table(runs: Sequence[Run]) -> str:
    """Return the comparison of networks of the same cost in Markdown."""
    top1 = mean_top1(runs)
    rows = ['| pair | MicroNet | MobileNetV3-Small | difference |', '|---|---|---|---|']
    for ours, theirs in PAIRS:
        values = [top1.get(name) for name in (ours, theirs)]
        cells = ['not trained yet' if value is None else f'{value:.2f}' for value in values]
        difference = '' if None in values else f'{values[0] - values[1]:+.2f}'
        rows.append(f'| {TITLES[ours]}, {TITLES[theirs].rpartition(" ")[2]} | {cells[0]} | {cells[1]} | {difference} |')
    return '\n'.join(rows)


def family(network: str) -> str:
    return 'MicroNet' if network.startswith('micronet') else 'MobileNetV3-Small'


def accuracy_figure(runs: Sequence[Run], configs: Path) -> Figure:
    """Draw top-1 over multiply-adds, as the paper's figure 5 (left); every seed is a point."""
    counted = costs(sorted({run.network for run in runs}), configs)
    with matplotlib.rc_context(SETTINGS):
        figure, [axes] = new_figure(4.2)
        for name in ('MobileNetV3-Small', 'MicroNet'):
            points = sorted((counted[run.network][1] / 1e6, run.last.top1) for run in runs
                            if family(run.network) == name)
            if points:
                axes.plot(*zip(*points), **STYLES[name], markersize=7, linewidth=1.8, label=name)
        axes.set(xlabel='multiply-adds at 128 x 128, in millions', ylabel='Tiny-ImageNet top-1 in %', xlim=(0, None))
        axes.legend(loc='lower right')
    return figure


def curves_figure(runs: Sequence[Run]) -> Figure:
    """Draw top-1 and loss over the epochs."""
    with matplotlib.rc_context(SETTINGS):
        figure, panels = new_figure(3.6, 2)
        for run in runs:
            index = next(place for place, pair in enumerate(PAIRS) if run.network in pair)
            style = dict(color=STYLES[family(run.network)]['color'], linestyle=['-', '--', '-.', ':'][index],
                         linewidth=1.4)
            numbers = range(1, len(run.epochs) + 1)
            panels[0].plot(numbers, [epoch.top1 for epoch in run.epochs], **style,
                           label=TITLES[run.network] if run.seed == 0 else None)
            panels[1].plot(numbers, [epoch.loss for epoch in run.epochs], **style)
        panels[0].set(xlabel='epoch', ylabel='top-1 in % at 128 x 128')
        panels[1].set(xlabel='epoch', ylabel='training loss')
        panels[0].legend(loc='upper left', fontsize=7)
    return figure
