"""The MicroNet backbone, its blocks and heads, registered in MMEngine's root ``MODELS``."""
from .arch import ARCHS, Arch, Row, get_arch
from .blocks import MicroBlockA, MicroBlockB, MicroBlockC, MicroBlockE, MicroStem
from .classifier import MicroNetClassifier
from .micronet import MicroNet

__all__ = [
    'ARCHS', 'Arch', 'MicroBlockA', 'MicroBlockB', 'MicroBlockC', 'MicroBlockE', 'MicroNet',
    'MicroNetClassifier', 'MicroStem', 'Row', 'get_arch'
]
