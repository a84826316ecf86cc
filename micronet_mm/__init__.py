"""MicroNet (ICCV 2021) for MMEngine's family: MMDetection, MMPose and MMPretrain.

``custom_imports=dict(imports=['micronet_mm'])`` in a config of any of them makes ``type='MicroNet'`` known.
"""
from . import layers, models
from .checkpoint import allow_mmengine_checkpoints
from .engine import hooks

__version__ = '0.1.0'
__all__ = ['__version__', 'hooks', 'layers', 'models']

allow_mmengine_checkpoints()
