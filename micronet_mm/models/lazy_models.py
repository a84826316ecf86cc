"""Models that subclass a host library's, known by name but imported only when a config builds one.

Importing mmdet, mmpose or mmpretrain takes seconds and pulls in everything they have, so ``import micronet_mm`` must
not do it; and a config of one host must not need another.
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
    """The class called ``name``.

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
    """Register a builder for every hosted class in MMEngine's root ``MODELS``."""
    for name in LAZY_MODELS:

        def build(_name: str = name, **kwargs: Any) -> Any:
            return load_lazy_model(_name)(**kwargs)

        MODELS.register_module(name=name, module=build)
