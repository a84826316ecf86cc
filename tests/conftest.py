import gc
import os
from unittest import mock

import _process  # noqa: F401
import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope
from released import ARCHS, released_state_dict

from micronet_mm.checkpoint import convert_checkpoint
from micronet_mm.ops.compiled import VECTORS

torch.set_num_threads(1)
settings.register_profile('busy', deadline=None)  # another process may have the core
settings.load_profile('busy')


def pytest_collection_finish():
    gc.freeze()  # what is imported stays, and is much to look at for garbage time and again


@pytest.fixture(autouse=True)
def fresh_process():
    """What MMEngine's runner sets for its process ends with each test, so that no test depends on those before it."""
    with mock.patch.dict(os.environ):
        yield
    DefaultScope._instance_dict.clear()
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = False


@pytest.fixture(scope='session')
def released(tmp_path_factory):
    """Arch -> path of a checkpoint in the released format."""
    folder = tmp_path_factory.mktemp('released')
    for arch in ARCHS:
        tensors = {f'module.{k}': v for k, v in released_state_dict(arch).items()}
        torch.save(dict(epoch=600, arch='MicroNet', state_dict=tensors, best_prec1=0.0, optimizer={}),
                   folder / f'{arch}.pth')
    return {arch: folder / f'{arch}.pth' for arch in ARCHS}


@pytest.fixture(scope='session')
def converted(released, tmp_path_factory):
    """Arch -> path of the converted checkpoint."""
    folder = tmp_path_factory.mktemp('converted')
    for arch, path in released.items():
        assert convert_checkpoint(path, folder / f'{arch}.pth').arch == arch
    return {arch: folder / f'{arch}.pth' for arch in ARCHS}


@pytest.fixture(params=VECTORS)
def vectors(request, monkeypatch):
    """Plans that are opened within it run in these."""
    monkeypatch.setenv('MICRONET_PLAN_VECTORS', request.param)
