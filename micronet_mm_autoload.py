"""Called by PyTorch (2.5 or later) when it is imported, where micronet_mm is installed: puts the stand-ins in place.

Programs that import mmdet before they read a config, such as its ``tools/test.py``, need them before any
``custom_imports``. The stand-ins are loaded from their file, since importing ``micronet_mm`` imports PyTorch. An error
here would fail everybody's ``import torch``, so there is nothing in it to go wrong.
"""
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

STAND_INS = Path(__file__).parent / 'micronet_mm' / 'standins' / '__init__.py'


def autoload() -> None:
    if STAND_INS.exists():
        spec = spec_from_file_location('micronet_mm_standins', STAND_INS)
        standins = module_from_spec(spec)
        spec.loader.exec_module(standins)
        standins.put_in_place()
