#!/usr/bin/env python
"""Time and memory of a training step: ours, the plain PyTorch formulation of the same network, and MobileNetV3-Small.

First of Dynamic Shift-Max alone, then of networks. A step is forward and backward. The rivals take turns in one run;
medians and ratios are printed, since bare times vary from run to run. Kept memory is what autograd holds between
forward and backward, parameters left out.

With --beside, instead, what a step of tools/train.py costs alone and while a second process trains, by the way in which
OpenMP's threads wait.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import _process  # noqa: F401
import cv2
import numpy as np
import torch
from torch import Tensor, nn

from micronet_mm.checkpoint.atomic import make_folder_of
from micronet_mm.engine.cli import one_line_errors
from micronet_mm.models import ARCHS, MicroNet, MicroNetClassifier, load_lazy_model
from micronet_mm.ops import reference_only, shift_max
from micronet_mm.validation import COUNT

# MobileNetV3-Small's width of the same cost (Table 7).
WIDTHS = dict(m0=0.15, m1=0.2, m2=0.35, m3=0.5)

ROOT = Path(__file__).parents[1]
# How threads wait, as GNU OpenMP reads it. 300000 is its own default.
WAITING = {
    'default': dict(GOMP_SPINCOUNT='300000'),
    'spin count 1000': dict(GOMP_SPINCOUNT='1000'),
    'passive': dict(OMP_WAIT_POLICY='passive'),
}
NOISE = """
_base_ = {recipe!r}
loader = dict(batch_size=16, num_workers=0, persistent_workers=False)
# Endless, since MMEngine sleeps for two seconds whenever a loader ends.
train_dataloader = dict(**loader, dataset=dict(data_root='data', split=''), sampler=dict(type='InfiniteSampler'))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters={iterations})
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
param_scheduler = custom_hooks = []
default_hooks = dict(logger=dict(interval=1), checkpoint=None)
log_processor = dict(window_size=1, by_epoch=False)
"""


class Contender(NamedTuple):
    name: str
    step: Callable[[], Tensor]
    context: Callable[[], Any]


class Classifier(nn.Module):
    """A backbone and the classifier of MicroNet, for both networks: it weighs little in time and memory."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, MicroNetClassifier(width, 1024)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x)[-1]).square().mean()


class Features(nn.Module):
    """The maps that a RetinaNet reads."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return sum(feature.square().mean() for feature in self.backbone(x))


def contenders(arch: str, task: str, batch: int, size: tuple[int, int]) -> list[Contender]:
    """Ours, the plain formulation with the same weights, and the baseline."""
    baseline = load_lazy_model('MobileNetV3Small')
    if task == 'classification':
        ours = Classifier(MicroNet(arch), ARCHS[arch].rows[-1].channels)
        small = baseline(WIDTHS[arch], out_indices=(12, ))
        theirs = Classifier(small, small.layer12.out_channels)
    else:
        ours = Features(MicroNet(arch, out_indices=(1, 2, 3)))
        theirs = Features(baseline(WIDTHS[arch], out_indices=(3, 8, 12)))
    x = torch.rand(batch, 3, *size)
    ours.train(), theirs.train()
    return [Contender('ours', lambda: ours(x), nullcontext), Contender('plain', lambda: ours(x), reference_only),
            Contender('mobilenetv3_small', lambda: theirs(x), nullcontext)]


def operator_contenders(shape: tuple[int, ...]) -> list[Contender]:
    """Dynamic Shift-Max of two fusions of two shifts, ours and by the formula."""
    n, c = shape[:2]
    x, coefficients = torch.randn(shape, requires_grad=True), torch.randn(n, 2, 2, c, requires_grad=True)

    def step() -> Tensor:
        return shift_max(x, coefficients, 8)

    return [Contender('ours', step, nullcontext), Contender('plain', step, reference_only)]


def take_step(step: Callable[[], Tensor]) -> None:
    y = step()
    y.backward(torch.ones_like(y))


def kept_bytes(step: Callable[[], Tensor]) -> int:
    """What autograd holds after a forward pass."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):  # a parameter, or the operator's own input
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = step()
    del loss
    return sum(storages.values())


def measure(rivals: list[Contender], rounds: int) -> dict[str, dict[str, float]]:
    """Median step time in seconds and kept memory in MiB of each."""
    times: dict[str, list[float]] = {rival.name: [] for rival in rivals}
    memory = {}
    for rival in rivals:
        with rival.context():
            memory[rival.name] = kept_bytes(rival.step) / 2**20
            take_step(rival.step)  # warm up
    for _ in range(rounds):
        for rival in rivals:
            with rival.context():
                start = time.perf_counter()
                take_step(rival.step)
                times[rival.name].append(time.perf_counter() - start)
    return {name: dict(seconds=statistics.median(values), kept_mib=memory[name]) for name, values in times.items()}


def against(ours: dict[str, float], other: dict[str, float]) -> str:
    time_ratio, memory_ratio = (ours[key] / other[key] for key in ('seconds', 'kept_mib'))
    return f'{time_ratio:.2f}x the time and {memory_ratio:.2f}x the memory'


def write_noise(folder: Path, arch: str, iterations: int) -> None:
    """A config in ``folder`` that trains a classifier, a batch of 16 at 224 x 224, on pictures of noise."""
    rng = np.random.default_rng(0)
    for index in range(32):
        path = folder / 'data' / f'{index % 2}' / f'{index}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (224, 224, 3), np.uint8))
    recipe = str(ROOT / 'configs' / f'imagenet_micronet_{arch}.py')
    for name, count in (('measured', iterations), ('endless', 10**9)):
        (folder / f'{name}.py').write_text(NOISE.format(recipe=recipe, iterations=count))


def start(folder: Path, name: str, threads: int, waiting: dict[str, str]) -> tuple[subprocess.Popen, Path]:
    """tools/train.py on a config of :func:`write_noise`, and its work dir, in which train.log is what it prints."""
    environment = {key: value for key, value in os.environ.items() if key not in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')}
    work_dir = Path(tempfile.mkdtemp(dir=folder, prefix=name))
    with open(work_dir / 'train.log', 'w') as log:
        process = subprocess.Popen(
            [sys.executable, ROOT / 'tools' / 'train.py', f'{name}.py', '--work-dir', work_dir], cwd=folder,
            env={**environment, **waiting, 'OMP_NUM_THREADS': str(threads)}, stdout=log, stderr=log)
    return process, work_dir


def steps_of(work_dir: Path) -> list[dict[str, float]]:
    """What was logged of every step so far."""
    return [json.loads(line) for path in work_dir.glob('*/vis_data/scalars.json')
            for line in path.read_text().splitlines()]


@contextmanager
def training_beside(folder: Path, threads: int, waiting: dict[str, str]) -> Iterator[None]:
    """A second process that trains, from its first step on."""
    process, work_dir = start(folder, 'endless', threads, waiting)
    try:
        while process.poll() is None and not steps_of(work_dir):
            time.sleep(0.2)
        yield
        if process.poll() is not None:
            sys.exit(f'error: the training beside ended:\n{(work_dir / "train.log").read_text()[-2000:]}')
    finally:
        process.kill()
        process.wait()


def step_seconds(folder: Path, threads: int, waiting: dict[str, str]) -> float:
    """Median time of a step through tools/train.py, loading left out."""
    process, work_dir = start(folder, 'measured', threads, waiting)
    if process.wait():
        sys.exit(f'error: tools/train.py failed:\n{(work_dir / "train.log").read_text()[-2000:]}')
    return statistics.median(step['time'] - step['data_time'] for step in steps_of(work_dir)[3:])


def measure_beside(arch: str, threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """Median step times in seconds, alone and beside a second training, of every way to wait."""
    times: dict[str, dict[str, list[float]]] = {name: dict(alone=[], beside=[]) for name in WAITING}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_noise(folder, arch, iterations=23)
        for _ in range(rounds):
            for name, waiting in WAITING.items():
                times[name]['alone'].append(step_seconds(folder, threads, waiting))
            for name, waiting in WAITING.items():
                with training_beside(folder, threads, waiting):
                    times[name]['beside'].append(step_seconds(folder, threads, waiting))
    return {name: {key: statistics.median(values) for key, values in found.items()} for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', nargs='+', choices=sorted(WIDTHS), default=sorted(WIDTHS))
    parser.add_argument('--threads', type=COUNT, default=2)
    parser.add_argument('--rounds', type=COUNT, default=11)
    parser.add_argument('--beside', action='store_true', help='measure a step beside a second training instead')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    args = parser.parse_args()
    if args.json:
        with one_line_errors():
            make_folder_of(args.json)
    torch.set_num_threads(args.threads)
    machine = (f'{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {args.threads} threads, '
               f'PyTorch {torch.__version__}')
    print(machine, flush=True)
    found: dict[str, Any] = dict(machine=machine)
    if args.beside:
        for arch in args.arch:
            result = found[f'beside {arch}'] = measure_beside(arch, args.threads, args.rounds)
            alone = result['default']['alone']
            for name, step in result.items():
                print(f'{arch}, {name}: {step["alone"]:.3f} s alone, {step["alone"] / alone:.2f}x of the default; '
                      f'{step["beside"]:.3f} s beside a second training, {step["beside"] / step["alone"]:.1f}x',
                      flush=True)
    else:
        found.update(measure_networks(args.arch, args.rounds))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


def measure_networks(archs: list[str], rounds: int) -> dict[str, Any]:
    """Print and return what steps cost, of the operator and of networks."""
    found = {}
    for shape in ((16, 480, 14, 14), (4, 96, 56, 56)):
        result = measure(operator_contenders(shape), rounds)
        found[f'shift_max {shape}'] = result
        ours = result['ours']
        print(f'shift_max {shape}: {1000 * ours["seconds"]:.2f} ms, {ours["kept_mib"]:.0f} MiB kept besides input and '
              f'coefficients; {against(ours, result["plain"])} of the formula', flush=True)
    for task, batch, size in (('classification', 16, (224, 224)), ('retinanet', 1, (800, 1333))):
        for arch in archs:
            result = measure(contenders(arch, task, batch, size), rounds)
            found[f'{task} {arch}'] = result
            ours, plain, small = result['ours'], result['plain'], result['mobilenetv3_small']
            print(f'{task} {arch}, batch {batch} at {size[0]} x {size[1]}: {ours["seconds"]:.3f} s, '
                  f'{ours["kept_mib"]:.0f} MiB kept; {against(ours, plain)} of the plain formulation, '
                  f'{against(ours, small)} of MobileNetV3-Small {WIDTHS[arch]}x', flush=True)
    return found


if __name__ == '__main__':
    main()
