"""The paper's ImageNet classifier as a plain PyTorch module."""
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from micronet_mm.layers import ScriptableModule
from micronet_mm.validation import COUNT, FRACTION, checked

from .deployable import Deployable

CLASSIFIER = dict(in_channels=COUNT, hidden_channels=COUNT, num_classes=COUNT, dropout=FRACTION)


@MODELS.register_module()
class MicroNetClassifier(ScriptableModule, Deployable):
    """ReLU6, global average pool, then Linear, BN, h_swish twice, with dropout in between.

    BN and h_swish follow the logits too, as in the released models.

    Args:
        in_channels: width of the backbone's last stage.
        hidden_channels: width between the two linear layers.
        num_classes: number of logits.
        dropout: probability of dropout before the second linear layer.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, in_channels, H, W) to (N, num_classes).
    """

    @checked(**CLASSIFIER)
    def __init__(self,
                 in_channels: int,
                 hidden_channels: int,
                 num_classes: int = 1000,
                 dropout: float = 0.05,
                 init_cfg: dict = dict(type='Normal', layer='Linear', std=0.01)) -> None:
        super().__init__(init_cfg)
        self.fc1 = nn.Linear(in_channels, hidden_channels)
        self.bn1 = nn.BatchNorm1d(hidden_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden_channels, num_classes)
        self.bn2 = nn.BatchNorm1d(num_classes)

    def pre_logits(self, x: Tensor) -> Tensor:
        """Return the input of the last linear layer, (N, hidden_channels)."""
        x = F.relu6(x).mean((2, 3))
        x = self.fc1(F.hardswish(x))
        return F.hardswish(self.bn1(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.pre_logits(x))
        return F.hardswish(self.bn2(self.fc2(x)))
