"""Checkpoints in the format of the released weights, and the inputs and outputs that belong to them."""
import json
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / 'golden'
ARCHS = ('m0', 'm3')


def released_state_dict(arch: str) -> dict[str, torch.Tensor]:
    """Every tensor of the released checkpoint, filled from a generator seeded by its name."""
    stats = np.load(GOLDEN / f'bn_stats_{arch}.npz')
    tensors = {}
    for name, shape, dtype in json.loads((GOLDEN / f'schema_{arch}.json').read_text()):
        noise = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF).standard_normal(shape)
        if name in stats:
            value = stats[name]
        elif dtype == 'int64':
            value = np.zeros(shape, np.int64)
        elif len(shape) > 1:
            value = noise.astype(np.float32) * np.float32((2 / np.prod(shape[1:]))**0.5)
        elif name.endswith('weight'):
            value = 1.3 * (1 + 0.1 * noise.astype(np.float32))
        else:
            value = 0.1 * noise.astype(np.float32)
        tensors[name] = torch.from_numpy(np.asarray(value, dtype=dtype))
    return tensors


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def expected(arch: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / f'expected_{arch}.npz'))
