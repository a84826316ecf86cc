"""mmpretrain's ``get_model`` and ``list_models`` know MicroNet by the names of :func:`~micronet_mm.create_model`.

Importing mmpretrain takes seconds, so it is not done here: its hub is told when somebody imports it.
"""
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Optional

from mmengine.fileio import dump

from micronet_mm.packaged import shipped

from .create import list_models

HUB = 'mmpretrain.apis.model'  # the module of its ModelHub


def tell_mmpretrain() -> None:
    """Add MicroNet to mmpretrain's hub, now if that is imported already, or else when it is."""
    if HUB in sys.modules:
        register(sys.modules[HUB])
    elif not any(isinstance(finder, HubFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, HubFinder())


def register(hub: ModuleType) -> None:
    """Add each model whose config is there to ``ModelHub`` of this module."""
    configs = {name: shipped('configs') / f'imagenet_{name}.py' for name in list_models()}
    models = [dict(Name=name, Config=str(path), Results=[dict(Task='Image Classification', Dataset='ImageNet-1k')])
              for name, path in configs.items() if path.is_file() and not hub.ModelHub.has(name)]
    if not models:
        return
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / 'model-index.yml'
        dump(dict(Models=models), index)
        hub.ModelHub.register_model_index(index)


class RegisteringLoader(Loader):
    """Loads a module as ``loader`` does, and adds our models when it is there."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> Optional[ModuleType]:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        register(module)


class HubFinder(MetaPathFinder):
    """Finds mmpretrain's hub where it is, with a loader that adds our models."""

    def find_spec(self, fullname: str, path: Optional[Sequence[str]] = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        spec = PathFinder.find_spec(fullname, path) if fullname == HUB else None
        if spec is not None and spec.loader is not None:
            spec.loader = RegisteringLoader(spec.loader)
        return spec
