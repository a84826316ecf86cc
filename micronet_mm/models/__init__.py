"""The MicroNet backbone, its blocks and heads, registered in MMEngine's root ``MODELS``."""
from typing import Any

from micronet_mm.models.lazy_models import LAZY_MODELS, load_lazy_model, register_lazy_models
from micronet_mm.models.necks.micro_pafpn import MicroPAFPN

from .arch import ARCHS, RELEASED, Arch, Row, get_arch
from .blocks import MicroBlockA, MicroBlockB, MicroBlockC, MicroBlockE, MicroStem
from .classifier import MicroNetClassifier
from .micronet import MicroNet
from .separable_block import SeparableBlock

__all__ = [
    'ARCHS', 'RELEASED', 'Arch', 'MicroBlockA', 'MicroBlockB', 'MicroBlockC', 'MicroBlockE', 'MicroNet',
    'MicroNetClassifier', 'MicroPAFPN', 'MicroStem', 'Row', 'SeparableBlock', 'get_arch'
]

register_lazy_models()


def __getattr__(name: str) -> Any:
    if name in LAZY_MODELS:
        return load_lazy_model(name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
