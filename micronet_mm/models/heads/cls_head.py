"""The paper's classifier as a head of mmpretrain's ImageClassifier."""
from typing import Optional, Sequence, Union

from mmpretrain.models.heads import ClsHead
from torch import Tensor

from micronet_mm.models.classifier import CLASSIFIER, MicroNetClassifier
from micronet_mm.models.deployable import Deployable
from micronet_mm.validation import checked


class MicroNetClsHead(ClsHead, Deployable):
    """:class:`~micronet_mm.models.MicroNetClassifier` with mmpretrain's loss, accuracy and predictions.

    Registered as ``MicroNetClsHead`` in MMEngine's root ``MODELS``. The head pools, so an
    ImageClassifier with this head has no neck.

    Args:
        in_channels: width of the backbone's last stage.
        hidden_channels: width between the two linear layers.
        num_classes: number of classes.
        dropout: probability of dropout before the second linear layer.
        loss, topk, cal_acc, init_cfg: as in mmpretrain's ClsHead.

    Shapes: a tuple of features that ends with (N, in_channels, H, W), to logits (N, num_classes).
    """

    @checked(**CLASSIFIER)
    def __init__(self,
                 in_channels: int,
                 hidden_channels: int,
                 num_classes: int = 1000,
                 dropout: float = 0.05,
                 loss: dict = dict(type='CrossEntropyLoss', loss_weight=1.0),
                 topk: Union[int, Sequence[int]] = (1, 5),
                 cal_acc: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(loss, topk, cal_acc, init_cfg)
        self.num_classes = num_classes
        self.classifier = MicroNetClassifier(in_channels, hidden_channels, num_classes, dropout)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the input of the last linear layer, (N, hidden_channels)."""
        return self.classifier.pre_logits(feats[-1])

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        return self.classifier(feats[-1])
