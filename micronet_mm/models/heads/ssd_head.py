"""mmdet's SSD head, able to predict."""
from mmdet.models.dense_heads import SSDHead


class SSDLiteHead(SSDHead):
    """mmdet's SSDHead, which trains but cannot predict in mmdet 3.3.0.

    Prediction there asks every head for a ``loss_cls`` with a class layout of its own, and SSDHead computes its losses
    without such a module. Registered as ``SSDLiteHead`` in MMEngine's root ``MODELS``.

    Args: as for mmdet's SSDHead.
    """
    loss_cls = None
