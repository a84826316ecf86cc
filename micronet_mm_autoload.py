"""Called by PyTorch (2.5 or later) when it is imported, where micronet_mm is installed.

Puts the fallbacks in place, and has MMEngine find the configs of the package. Programs that import mmdet or read a
config before any ``custom_imports``, such as mmdet's own tools, need both. What does it is loaded from its file, since
importing ``micronet_mm`` imports PyTorch. An error here would fail everybody's ``import torch``, so there is nothing in
it to go wrong.
"""
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent / 'micronet_mm'
FALLBACKS, PACKAGED = PACKAGE / 'fallbacks' / '__init__.py', PACKAGE / 'bundled_configs.py'


def load(file: Path) -> ModuleType:
    spec = spec_from_file_location(f'micronet_mm_{file.parent.name}_{file.stem}', file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def autoload() -> None:
    if FALLBACKS.exists() and PACKAGED.exists():
        load(FALLBACKS).install_fallbacks()
        load(PACKAGED).patch_mmengine()
