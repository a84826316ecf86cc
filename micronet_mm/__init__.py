"""MicroNet (ICCV 2021) for MMEngine's family: MMDetection, MMPose and MMPretrain.

``custom_imports=dict(imports=['micronet_mm'])`` in a config of any of them makes ``type='MicroNet'`` known.
"""
from importlib.util import find_spec

if find_spec('torch') is None:
    raise ModuleNotFoundError(
        "micronet_mm needs torch and MMLab: pip install 'micronet-mm[lite]' for MMLab's original line, "
        "'micronet-mm[onedl]' for the maintained one, or 'micronet-mm[core]' where MMLab is in place. Exported models "
        'run without them by micronet_runtime.', name='torch')
if missing := [name for name in ('mmengine', 'mmcv') if find_spec(name) is None]:
    raise ModuleNotFoundError(
        f'micronet_mm needs {" and ".join(missing)}, which pip cannot choose for you: install one of the two lines of '
        "MMLab, the original one by pip install 'mmengine>=0.10.7,<0.11' 'mmcv-lite>=2.0,<2.2', or the maintained one "
        "by pip install 'onedl-mmengine>=0.10.12,<0.11' 'onedl-mmcv>=2.3.6,<2.4'.", name=missing[0])

from micronet_mm.bundled_configs import patch_mmengine

from . import datasets, fallbacks, layers, models
from .checkpoint import allow_mmengine_checkpoints
from .engine import hooks, optim_wrapper
from .hub import create_model, list_models, list_pretrained
from .version import __version__

__all__ = [
    '__version__',
    'create_model',
    'datasets',
    'fallbacks',
    'hooks',
    'layers',
    'list_models',
    'list_pretrained',
    'models',
    'optim_wrapper',
]

fallbacks.install_fallbacks()
patch_mmengine()
allow_mmengine_checkpoints()
