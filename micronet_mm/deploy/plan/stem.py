"""A stem's one convolution of 3 x 3 taken apart: native code is faster with the two that it was made of.

They are found from its weights, which may be others by now than those that it was made with.
"""
import numpy as np
import torch

from ..layers import DeployStem
from .recording import UnsupportedError

TOLERANCE = 1e-4  # of the largest weight: normalization inside it rounds its channel of ones


def two_convolutions(stem: DeployStem) -> tuple[np.ndarray, ...]:
    """Weight (s1, C, 3) and bias (s1) of the vertical one, (s1 * s2, 3) and (s1 * s2) of the horizontal one.

    They are for images that are normalized.

    Raises:
        UnsupportedError: if its weights are not those of two convolutions.
    """
    weight = stem.conv.weight.detach().cpu().double()
    if not weight.isfinite().all():
        raise UnsupportedError('a stem whose weights are not finite')
    if stem.pixels:
        mean, std = (weight.new_tensor(each)[:, None, None] for each in stem.pixels)
        images, ones = weight[:, :-1], weight[:, -1:]
        weight = torch.cat([images * std, ones + (images * mean).sum(1, keepdim=True)], 1)
    outputs, channels = weight.shape[:2]
    # Of each group a matrix of rank 1: what the vertical one has times what the horizontal one has.
    matrix = weight.view(stem.rows, -1, channels, 3, 3).permute(0, 2, 3, 1, 4).reshape(stem.rows, channels * 3, -1)
    left, size, right = torch.linalg.svd(matrix, full_matrices=False)
    root = size[:, :1].sqrt()
    vertical, horizontal = (left[:, :, 0] * root).view(-1, channels, 3), (right[:, 0] * root).view(outputs, 3)
    vertical[:, -1, ::2] = 0  # the channel of ones has a summand in the middle
    product = vertical.repeat_interleave(outputs // stem.rows, 0)[..., None] * horizontal[:, None, None]
    if not (product - weight).abs().max() <= TOLERANCE * weight.abs().max():
        raise UnsupportedError('a stem whose weights are not those of two convolutions')
    return (vertical[:, :-1].numpy(), vertical[:, -1, 1].numpy(), horizontal.numpy(),
            stem.conv.bias.detach().cpu().double().numpy())
