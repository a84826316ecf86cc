"""Activations without parameters."""
import torch.nn.functional as F
from torch import Tensor, nn

from micronet_mm.ops import Deferred
from micronet_mm.validation import checked, one_of


class Activation(nn.Module):
    """ReLU or ReLU6.

    Args:
        kind: 'relu' or 'relu6'.

    Shapes: any shape; the output has the same shape.
    """

    @checked(kind=one_of('relu', 'relu6'))
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x) if self.kind == 'relu6' else F.relu(x)

    def deferred(self, x: Deferred) -> Deferred:
        return x.activated(self.kind)

    def extra_repr(self) -> str:
        return repr(self.kind)
