"""Keypoint models to export: heatmaps, or keypoints with mmpose's decoding in the graph."""
from typing import Optional

import cv2
import torch
import torch.nn.functional as F
from mmpose.codecs import MSRAHeatmap
from mmpose.models.utils.tta import flip_heatmaps
from torch import Tensor, nn


class HeatmapDecoder(nn.Module):
    """What ``MSRAHeatmap.decode`` of mmpose does to heatmaps, in tensors.

    Args:
        codec: its sizes, and whether places between pixels are read off the blurred heatmap (DARK, ``unbiased``) or
            are a quarter of a pixel towards the larger neighbour.

    Shapes: (N, K, H, W) to keypoints (N, K, 2) in pixels of the input, and scores (N, K).
    """

    def __init__(self, codec: MSRAHeatmap) -> None:
        super().__init__()
        self.register_buffer('scale', torch.from_numpy(codec.scale_factor).float())
        self.blur = codec.blur_kernel_size if codec.unbiased else None
        if codec.unbiased:
            line = torch.from_numpy(cv2.getGaussianKernel(self.blur, 0)).float()
            self.register_buffer('kernel', (line @ line.t())[None, None])

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        height, width = heatmaps.shape[2:]
        scores, places = heatmaps.flatten(2).max(2)
        x, y = places % width, places // width
        if self.blur is None:
            offset, margin = self.quarter(heatmaps, x, y), 1
        else:
            offset, margin = self.dark(heatmaps, x, y), 2
        # The bounds are mmpose's.
        inside_x, inside_y = (x > 1) & (x < width - margin), (y > 1) & (y < height - margin)
        if self.blur is None:
            allowed = torch.stack([inside_x & (y > 0), inside_y & (x > 0)], -1)
        else:
            allowed = (inside_x & inside_y)[..., None]
        at = torch.stack([x, y], -1).to(heatmaps.dtype)
        at = torch.where((scores <= 0)[..., None], -torch.ones_like(at), at + torch.where(allowed, offset,
                                                                                         torch.zeros_like(at)))
        return at * self.scale, scores

    def quarter(self, heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        look = Look(heatmaps, x, y)
        return torch.stack([look(1, 0) - look(-1, 0), look(0, 1) - look(0, -1)], -1).sign() * 0.25

    def dark(self, heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        blurred = F.conv2d(heatmaps.flatten(0, 1)[:, None], self.kernel, padding=self.blur // 2).view_as(heatmaps)
        largest = (heatmaps.amax((2, 3), keepdim=True) / blurred.amax((2, 3), keepdim=True))
        look = Look((blurred * largest).clamp(min=1e-10).log(), x, y)
        dx, dy = 0.5 * (look(1, 0) - look(-1, 0)), 0.5 * (look(0, 1) - look(0, -1))
        dxx = 0.25 * (look(2, 0) - 2 * look(0, 0) + look(-2, 0))
        dyy = 0.25 * (look(0, 2) - 2 * look(0, 0) + look(0, -2))
        dxy = 0.25 * (look(1, 1) - look(1, -1) - look(-1, 1) + look(-1, -1))
        determinant = dxx * dyy - dxy * dxy
        solvable = determinant != 0
        divisor = torch.where(solvable, determinant, torch.ones_like(determinant))
        offset = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1) / divisor[..., None]
        return torch.where(solvable[..., None], offset, torch.zeros_like(offset))


class Look:
    """The values of heatmaps at places some steps from (x, y); outside, those at the border."""

    def __init__(self, heatmaps: Tensor, x: Tensor, y: Tensor) -> None:
        self.values, self.x, self.y = heatmaps.flatten(2), x, y
        self.height, self.width = heatmaps.shape[2:]

    def __call__(self, right: int, down: int) -> Tensor:
        x, y = (self.x + right).clamp(0, self.width - 1), (self.y + down).clamp(0, self.height - 1)
        return self.values.gather(2, (y * self.width + x)[..., None])[..., 0]


class PoseModel(nn.Module):
    """A top-down keypoint model of mmpose as a function of an image.

    Args:
        model: a TopdownPoseEstimator whose head gives heatmaps.
        decode: give keypoints and scores, not heatmaps.
        flip_indices: with the flip test of its ``test_cfg``, what each keypoint is in the mirrored image.

    Raises:
        ValueError: if there is no decoder in the graph for its codec.
    """

    def __init__(self, model: nn.Module, decode: bool = True, flip_indices: Optional[list[int]] = None) -> None:
        super().__init__()
        self.model = model
        self.flip_indices = flip_indices if model.test_cfg.get('flip_test') else None
        codec = model.head.decoder
        if decode and type(codec) is not MSRAHeatmap:
            raise ValueError(f'{type(codec).__name__} is not decoded in the graph, only MSRAHeatmap is; export with '
                             '--raw and decode the heatmaps yourself.')
        self.decoder = HeatmapDecoder(codec) if decode else None
        self.output_names = ['keypoints', 'scores'] if decode else ['heatmaps']

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        heatmaps = self.heatmaps(image)
        if self.flip_indices is not None:
            settings = self.model.test_cfg
            mirrored = flip_heatmaps(self.heatmaps(image.flip(-1)), self.flip_indices,
                                     settings.get('flip_mode', 'heatmap'), shift_heatmap=False)
            if settings.get('shift_heatmap', False):  # mmpose does it in place, which exporters do not follow
                mirrored = torch.cat([mirrored[..., :1], mirrored[..., :-1]], -1)
            heatmaps = (heatmaps + mirrored) * 0.5
        return (heatmaps, ) if self.decoder is None else self.decoder(heatmaps)

    def heatmaps(self, image: Tensor) -> Tensor:
        return self.model.head(self.model.extract_feat(image))
