"""Models as functions of an image, which name what they give in ``output_names``."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import DeployStem


class Features(nn.Module):
    """A backbone as a function of an image: its feature maps."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.output_names = [f'stage{index}' for index in backbone.out_indices]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(image))


class Scores(nn.Module):
    """A classifier of mmpretrain as a function of an image: probabilities of the classes, or logits."""

    def __init__(self, model: nn.Module, raw: bool = False) -> None:
        super().__init__()
        self.model, self.raw = model, raw
        self.output_names = ['logits' if raw else 'scores']

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits = self.model.head(self.model.extract_feat(image))
        return (logits if self.raw else logits.softmax(1), )


class Normalized(nn.Module):
    """A model that takes pixels from 0 to 255."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.output_names = model, model.output_names
        self.takes_extent = getattr(model, 'takes_extent', False)
        stem = next((m for m in model.modules() if isinstance(m, DeployStem)), None)
        self.absorbed = stem is not None
        if self.absorbed:
            stem.take_pixels(mean, std)
        self.register_buffer('mean', torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer('std', torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor, *extent: Tensor) -> tuple[Tensor, ...]:
        return self.model(image if self.absorbed else (image - self.mean) / self.std, *extent)


def inputs_of(model: nn.Module, image: Tensor, padding: int = 0) -> dict[str, Tensor]:
    """What a model is called with for images whose last rows and columns are padding."""
    if not getattr(model, 'takes_extent', False):
        return dict(image=image)
    # Images of a batch differ, so that one that is taken for another is noticed.
    extent = torch.tensor([[side - padding - 4 * index for side in image.shape[2:]] for index in range(len(image))])
    return dict(image=image, extent=extent)
