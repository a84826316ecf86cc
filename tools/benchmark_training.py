#!/usr/bin/env python
"""Time and memory of a training step: ours, the plain PyTorch formulation of the same network, and MobileNetV3-Small.

First of Dynamic Shift-Max alone, then of networks. A step is forward and backward. The rivals take turns in one run;
medians and ratios are printed, since bare times vary from run to run. Kept memory is what autograd holds between
forward and backward, parameters left out.
"""
import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from micronet_mm.models import ARCHS, MicroNet, MicroNetClassifier, load_hosted
from micronet_mm.ops import reference_only, shift_max

# MobileNetV3-Small's width of the same cost (Table 7).
WIDTHS = dict(m0=0.15, m1=0.2, m2=0.35, m3=0.5)


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
    baseline = load_hosted('MobileNetV3Small')
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', nargs='+', choices=sorted(WIDTHS), default=sorted(WIDTHS))
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=11)
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    machine = (f'{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {args.threads} threads, '
               f'PyTorch {torch.__version__}')
    print(machine, flush=True)
    found: dict[str, Any] = dict(machine=machine)
    for shape in ((16, 480, 14, 14), (4, 96, 56, 56)):
        result = measure(operator_contenders(shape), args.rounds)
        found[f'shift_max {shape}'] = result
        ours = result['ours']
        print(f'shift_max {shape}: {1000 * ours["seconds"]:.2f} ms, {ours["kept_mib"]:.0f} MiB kept besides input and '
              f'coefficients; {against(ours, result["plain"])} of the formula', flush=True)
    for task, batch, size in (('classification', 16, (224, 224)), ('retinanet', 1, (800, 1333))):
        for arch in args.arch:
            result = measure(contenders(arch, task, batch, size), args.rounds)
            found[f'{task} {arch}'] = result
            ours, plain, small = result['ours'], result['plain'], result['mobilenetv3_small']
            print(f'{task} {arch}, batch {batch} at {size[0]} x {size[1]}: {ours["seconds"]:.3f} s, '
                  f'{ours["kept_mib"]:.0f} MiB kept; {against(ours, plain)} of the plain formulation, '
                  f'{against(ours, small)} of MobileNetV3-Small {WIDTHS[arch]}x', flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
