"""mmdet's SSD head, able to predict."""
from mmdet.models.dense_heads import SSDHead


class SSDLiteHead(SSDHead):
    """mmdet's SSDHead, which trains but cannot predict in mmdet 3.3.0.

    Prediction in mmdet reads ``loss_cls`` of every head to learn its class layout, and SSDHead has no such module.
    Registered as ``SSDLiteHead`` in MMEngine's root ``MODELS``.

    Args: as for mmdet's SSDHead.
    """
    loss_cls = None
