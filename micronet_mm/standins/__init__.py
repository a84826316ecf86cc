"""Stand-ins for what MMLab expects to be compiled.

mmcv's operators (``mmcv._ext``) are published as source, which takes a compiler and a quarter of an hour, and
xtcocotools has wheels for NumPy 1 alone. Where either is missing or does not load, Python finds a module of this folder
under its name, a thin layer over torchvision, PyTorch and pycocotools. What is compiled and loads always wins. Nothing
is imported before somebody asks for it.
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


class StandIn(NamedTuple):
    """What stands in for a module.

    Attributes:
        folder: of the package in this folder that takes its place.
        compiled: the part of the original that may be there and not load.
    """
    folder: Path
    compiled: str


STAND_INS = {
    'mmcv._ext': StandIn(Path(__file__).with_name('mmcv_ext'), 'mmcv._ext'),
    'xtcocotools': StandIn(Path(__file__).with_name('xtcocotools'), 'xtcocotools._mask'),
}


class LoadedLoader(Loader):
    """Gives out a module that is loaded already: some cannot be loaded twice."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Done."""


class StandInFinder(MetaPathFinder):
    """Finds the compiled module where it loads, and its stand-in elsewhere."""

    def find_spec(self, fullname: str, path: Optional[Sequence[str]] = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        stand_in = STAND_INS.get(fullname)
        if stand_in is None:
            return None
        original = PathFinder.find_spec(fullname, path)
        if original is not None:
            compiled = load(original, stand_in.compiled)
            if compiled is not None:
                return ModuleSpec(fullname, LoadedLoader(compiled)) if stand_in.compiled == fullname else original
        return spec_from_file_location(fullname, stand_in.folder / '__init__.py',
                                       submodule_search_locations=[str(stand_in.folder)])


def load(original: ModuleSpec, name: str) -> Optional[ModuleType]:
    """The module ``name`` of ``original``; None, after a warning, where it does not load."""
    spec = original if original.name == name else PathFinder.find_spec(name, original.submodule_search_locations)
    if spec is None:
        return None
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (ImportError, OSError, ValueError) as error:  # ValueError: built for another NumPy
        warnings.warn(f'{spec.origin} was compiled for something else than what is installed and does not load '
                      f"({error}); micronet_mm's stand-in takes its place.", stacklevel=2)
        return None


def put_in_place() -> None:
    """Have the stand-ins found; called when ``micronet_mm`` is imported, or PyTorch, by micronet_mm_autoload.py."""
    # This module may be there under two names.
    if not any(type(finder).__name__ == StandInFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, StandInFinder())
