"""MicroNet (ICCV 2021) for MMEngine's family: MMDetection, MMPose and MMPretrain.

``custom_imports=dict(imports=['micronet_mm'])`` in a config of any of them makes ``type='MicroNet'`` known.
"""
from importlib.util import find_spec

if find_spec('mmcv') is None:
    raise ModuleNotFoundError('micronet_mm needs mmcv or mmcv-lite, 2.0 or later; the lite one is enough for the '
                              "backbone and installs at once: pip install 'mmcv-lite>=2.0,<2.3'.")

from . import datasets, layers, models
from .checkpoint import allow_mmengine_checkpoints
from .engine import hooks, optim_wrapper

__version__ = '0.1.0'
__all__ = ['__version__', 'datasets', 'hooks', 'layers', 'models', 'optim_wrapper']

allow_mmengine_checkpoints()
