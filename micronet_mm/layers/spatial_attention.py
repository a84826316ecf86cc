"""The spatial attention of the keypoint models."""
from typing import Optional

from torch import Tensor, nn

from micronet_mm.ops import Deferred, conv_with_moments, settle
from micronet_mm.validation import COUNT, POSITIVE, checked

from .conv_norm import is_plain
from .scriptable import ScriptableModule


class SpatialAttention(ScriptableModule):
    r"""The attention of Dynamic ReLU's spatial variant (DY-ReLU-C), used by the keypoint models.

    .. math:: \pi_i = \min(\gamma \, \mathrm{softmax}_i(\mathrm{conv}(x) / \tau), 1), \quad \gamma = H W / 3

    Args:
        channels: C, the number of channels.
        temperature: tau in the formula.
        init_cfg: as in MMEngine's BaseModule.

    Shapes: (N, C, H, W) to (N, 1, H, W).
    """

    @checked(channels=COUNT, temperature=POSITIVE)
    def __init__(self, channels: int, temperature: float = 10.0, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        self.temperature = temperature
        self.conv = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(self.conv.weight, std=0.01)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.conv(x))

    def deferred(self, x: Deferred) -> Tensor:
        if not is_plain(self.conv) or self.conv.bias is None:
            return self.forward(settle(x))
        return self.attention(conv_with_moments(x, self.conv.weight)[0] + self.conv.bias)

    def attention(self, logits: Tensor) -> Tensor:
        # H W softmax equals the exponentials divided by their mean. This form contains no size that ONNX would fix.
        z = logits / self.temperature
        e = (z - z.amax((2, 3), keepdim=True).detach()).exp()
        return (e / (3 * e.mean((2, 3), keepdim=True))).clamp(max=1)
