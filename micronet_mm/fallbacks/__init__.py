"""Fallbacks for compiled modules of MMLab.

mmcv publishes its operators (``mmcv._ext``) as source code, which needs a compiler and 15 minutes. xtcocotools has
wheels only for NumPy 1. If one of them is missing or does not load, Python imports a package of this folder under the
same name: a thin layer over torchvision, PyTorch and pycocotools. A compiled module that loads is always preferred.
Fallbacks are imported at first use.
"""
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Optional


class Fallback(NamedTuple):
    """A package that replaces a module.

    Attributes:
        folder: folder of the package.
        compiled: the compiled part of the original, which may fail to load.
    """
    folder: Path
    compiled: str


FALLBACKS = {
    'mmcv._ext': Fallback(Path(__file__).with_name('mmcv_ext'), 'mmcv._ext'),
    'xtcocotools': Fallback(Path(__file__).with_name('xtcocotools'), 'xtcocotools._mask'),
}


class LoadedLoader(Loader):
    """Return a module that is already loaded, because some modules cannot be loaded twice."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Done."""


class FallbackFinder(MetaPathFinder):
    """Find the compiled module if it loads, otherwise its fallback."""

    def find_spec(self, fullname: str, path: Optional[Sequence[str]] = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        fallback = FALLBACKS.get(fullname)
        if fallback is None:
            return None
        original = PathFinder.find_spec(fullname, path)
        if original is not None:
            compiled = load(original, fallback.compiled)
            if compiled is not None:
                return ModuleSpec(fullname, LoadedLoader(compiled)) if fallback.compiled == fullname else original
        return spec_from_file_location(fullname, fallback.folder / '__init__.py',
                                       submodule_search_locations=[str(fallback.folder)])


def load(original: ModuleSpec, name: str) -> Optional[ModuleType]:
    """Return the module ``name`` of ``original``, or None after a warning if it does not load."""
    spec = original if original.name == name else PathFinder.find_spec(name, original.submodule_search_locations)
    if spec is None:
        return None
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (ImportError, OSError, ValueError) as error:  # ValueError: built for another NumPy
        warnings.warn(f'{spec.origin} does not load: it was compiled for other versions ({error}). '
                      "micronet_mm's fallback is used instead.", stacklevel=2)
        return None


def install_fallbacks() -> None:
    """Let Python find the fallbacks; `import micronet_mm` and, by an entry point, `import torch` call this."""
    # This module may be imported under two names.
    if not any(type(finder).__name__ == FallbackFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, FallbackFinder())
