"""Plans on ARM: the tests of test_plan.py once more, with a library for aarch64 that an emulator runs.

On a machine that is ARM itself test_plan.py is all that is needed.
"""
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from released import ARCHS, normal
from test_golden import network
from test_plan import (  # noqa: F401
    assert_close,
    assert_same,
    both,
    built,
    has_library,
    ran,
    test_backbones_at_all_stages,
    test_enlargement_of_every_size,
    test_released_networks,
    test_rows_of_every_length,
    test_whole_models,
)
from test_plan_weights import test_logits_change_by_as_much_as_the_type_says  # noqa: F401
from torch import Tensor

from micronet_mm.deploy.plan import engine
from micronet_mm.deploy.plan.engine import OpenPlan
from micronet_mm.models import MicroNet
from micronet_mm.ops.compiled import PLAN, compile_to
from micronet_runtime import PlanError
from micronet_runtime.plan import LIBRARY, open_library

COMPILER, TARGET, SYSROOT = 'aarch64-linux-gnu-g++', 'aarch64-linux-gnu', '/usr/aarch64-linux-gnu'
EMULATOR = next(filter(shutil.which, ('qemu-aarch64', 'qemu-aarch64-static')), 'qemu-aarch64')
NEEDED = 'MICRONET_NEED_ARM'  # in the environment: without the tools the tests fail and are not skipped

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('error:.* runs in PyTorch'),
              pytest.mark.skipif(platform.machine() in ('aarch64', 'arm64'), reason='this machine is ARM itself'),
              pytest.mark.skipif(not has_library(), reason='there is nothing to run plans')]


class ArmPlan(OpenPlan):
    """Runs as an ARM processor would.

    Args:
        folder: of the library and of ``run_plan``.
        content: of its file.
    """

    def __init__(self, folder: Path, content: bytes) -> None:
        super().__init__(content)
        self.folder, self.content = folder, content

    def __call__(self, inputs: Sequence[Tensor], threads: int) -> list[Tensor]:
        batch = len(inputs[0])
        with TemporaryDirectory() as scratch:
            plan, given, found = (Path(scratch, name) for name in ('plan', 'inputs', 'outputs'))
            plan.write_bytes(self.content)
            given.write_bytes(b''.join(x.contiguous().numpy().tobytes() for x in inputs))
            arguments = plan, given, found, str(batch), str(threads)
            subprocess.run([EMULATOR, '-L', SYSROOT, self.folder / 'run_plan', *arguments], check=True)
            values = torch.from_numpy(np.fromfile(found, np.float32))
        parts = values.split([batch * int(np.prod(shape)) for shape in self.outputs])
        return [part.view(batch, *shape) for part, shape in zip(parts, self.outputs, strict=True)]


def build(folder, *command, without=()):
    """The library for ARM, and a program that runs plans with it."""
    library = replace(PLAN, flags=tuple(flag for flag in PLAN.flags if flag not in without),
                      variants=tuple(variant for variant in PLAN.variants if '-DPLAN_TARGET=plain' in variant[1]))
    compile_to(library, [*command], folder / LIBRARY)
    subprocess.run([COMPILER.replace('g++', 'gcc'), '-Wall', '-Werror', '-I', PLAN.sources[0].parent,
                    Path(__file__).with_name('run_plan.c'), '-L', folder, '-lmicronet_plan', '-Wl,-rpath,$ORIGIN', '-o',
                    folder / 'run_plan'], check=True)
    return folder


@pytest.fixture(scope='module')
def arm(tmp_path_factory):
    """A folder with what g++ makes."""
    missing = [tool for tool in (COMPILER, EMULATOR) if not shutil.which(tool)]
    if missing:
        (pytest.fail if os.environ.get(NEEDED) else pytest.skip)(
            f'{" and ".join(missing)} not found; install them (Debian: apt install g++-aarch64-linux-gnu qemu-user).')
    return build(tmp_path_factory.mktemp('arm'), COMPILER)


@pytest.fixture
def vectors(arm, monkeypatch):
    """Plans that are opened within it run on ARM."""
    monkeypatch.setattr(engine, 'OpenPlan', partial(ArmPlan, arm))


@pytest.mark.parametrize('arch', ARCHS)
def test_golden_weights_and_odd_sizes(arch, converted, vectors):
    parts = network(arch, converted[arch])
    (theirs, classify), (ours, classify_natively) = zip(*map(both, (parts['backbone'], parts['head'].classifier)))
    for shape in ((3, 3, 157, 211), (2, 3, 225, 193)):
        x = normal(2, *shape)
        with torch.no_grad():
            assert_close(classify_natively(ours(x)[-1]), classify(theirs(x)[-1]))
    assert ran(ours) and ran(classify_natively)


@pytest.mark.parametrize(('name', 'size'), [('micro_det_m3', (320, 320)), ('keypoint_micronet_m0', (256, 192))])
def test_models_in_their_sizes(name, size, vectors):
    """One image is shared by two threads, if it is large enough."""
    pytest.importorskip('mmpose' if 'keypoint' in name else 'mmdet')
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert_same(built(name), (1, 3, *size), run=lambda model, x: model(x, None, mode='tensor'))
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not shutil.which('clang++'), reason='clang++ not found')
def test_clang_without_openmp(arm, tmp_path, monkeypatch):
    """As on Apple's machines, which have no OpenMP."""
    build(tmp_path, 'clang++', f'--target={TARGET}', without=['-fopenmp'])
    monkeypatch.setattr(engine, 'OpenPlan', partial(ArmPlan, tmp_path))
    assert_same(MicroNet('m0'), (2, 3, 64, 96), (1, 3, 33, 47))


def test_the_library_is_refused_elsewhere(arm):
    with pytest.raises(PlanError, match=rf'^the library {arm / LIBRARY} is for another kind of processor; take '):
        open_library(arm / LIBRARY)
