"""Models that subclass mmdet, mmpose or mmpretrain, imported only when a config builds them.

Importing these libraries takes seconds, so ``import micronet_mm`` must not do it. A config of one library must not
need the others.
"""
from importlib import import_module
from typing import Any

from mmengine.registry import MODELS

# Class name -> (module here that defines it, package it builds on, extra that installs that package).
LAZY_MODELS = {
    'InvertedResidualHeatmapHead': ('micronet_mm.models.heads.inverted_residual_head', 'mmpose', 'pose'),
    'MicroDetHead': ('micronet_mm.models.heads.micro_det_head', 'mmdet', 'det'),
    'MicroHeatmapHead': ('micronet_mm.models.heads.heatmap_head', 'mmpose', 'pose'),
    'MicroNetClsHead': ('micronet_mm.models.heads.cls_head', 'mmpretrain', 'cls'),
    'MobileNetV2Narrow': ('micronet_mm.models.baselines.mobilenetv2_narrow', 'mmpretrain', 'cls'),
    'MobileNetV3Small': ('micronet_mm.models.baselines.mobilenetv3_small', 'mmpretrain', 'cls'),
    'SSDLiteHead': ('micronet_mm.models.heads.ssd_head', 'mmdet', 'det'),
}


def load_lazy_model(name: str) -> type:
    """Import and return the class ``name``.

    Raises:
        ModuleNotFoundError: if the package that it builds on is not installed.
    """
    module, host, extra = LAZY_MODELS[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition('.')[0] != host:
            raise
        message = f"{name} builds on {host}, which is not installed: pip install 'micronet-mm[{extra}]'."
        raise ModuleNotFoundError(message, name=host) from None


def register_lazy_models() -> None:
    """Register a builder of every lazy model in MMEngine's root ``MODELS``."""
    for name in LAZY_MODELS:

        def build(_name: str = name, **kwargs: Any) -> Any:
            return load_lazy_model(_name)(**kwargs)

        MODELS.register_module(name=name, module=build)
