"""The weights of linear layers as they lie in a plan, in 32, 16 or 8 bits."""
import numpy as np

from .writing import TILE, WIDEST, Argument, Plan, rounded

WEIGHTS = ('float32', 'bfloat16', 'int8')  # a step says by number which


def check_weights(weights: str) -> None:
    """Raise ValueError if there is no such type."""
    if weights not in WEIGHTS:
        raise ValueError(f'weights={weights!r} must be one of {WEIGHTS}.')


def linear_weights(plan: Plan, weight: np.ndarray, weights: str) -> tuple[Argument, ...]:
    """The arguments of a step: number of the type, weights and, of int8, scales.

    Args:
        plan: that they become part of.
        weight: (inputs, outputs).
        weights: one of :data:`WEIGHTS`.
    """
    number = WEIGHTS.index(weights)
    if weights == 'int8':
        values, scale = in_8_bits(padded(weight))
        return number, plan.int8(interleaved(in_tiles(values))), plan.floats(scale)
    tiles = in_tiles(padded(weight))
    return number, plan.halves(tiles) if weights == 'bfloat16' else plan.floats(tiles)


def in_8_bits(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers from -127 to 127 like ``weight`` (inputs, outputs), and a scale (outputs) of float32 for each output.

    Their product is within half a scale of the weight. Where one is not finite the scale is not either, so that neither
    are the outputs.
    """
    with np.errstate(invalid='ignore'):
        scale = np.maximum(np.abs(weight).max(0) / 127, np.finfo(np.float32).tiny).astype(np.float32)
        return np.rint(weight / scale).astype(np.int8), scale


def padded(array: np.ndarray) -> np.ndarray:
    """With zeros behind its last axis, up to whole tiles."""
    outputs = array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, rounded(outputs, TILE) - outputs)])


def in_tiles(weight: np.ndarray) -> np.ndarray:
    """(inputs, outputs) as (outputs / TILE, inputs, TILE)."""
    return weight.reshape(len(weight), -1, TILE).transpose(1, 0, 2)


def interleaved(tiles: np.ndarray) -> np.ndarray:
    """Byte k of each word l is that of output k * WIDEST + l, as shapes.h says."""
    return tiles.reshape(*tiles.shape[:2], -1, WIDEST).swapaxes(2, 3)
