"""MMEngine's metadata as JSON, because safetensors only stores strings beside tensors.

mmpose's keypoint descriptions contain tuples, arrays and numeric keys, which JSON lacks. Each is written as an object
with a single key that starts with '@'.
"""
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_json(value: Any) -> str:
    """Encode a value as JSON.

    Raises:
        TypeError: if it contains other types than None, str, numbers, lists, tuples, dicts and numeric arrays.
    """
    return json.dumps(encode(value), sort_keys=True)


def from_json(text: str) -> Any:
    """Decode the output of :func:`to_json`; raise ValueError for other text."""
    try:
        return decode(json.loads(text))
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f'it is no description of a checkpoint: {error}') from None


def encode(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith('@') for key in value):
            return {key: encode(entry) for key, entry in value.items()}
        return {'@dict': [[encode(key), encode(entry)] for key, entry in value.items()]}
    if isinstance(value, tuple):
        return {'@tuple': [encode(entry) for entry in value]}
    if isinstance(value, list):
        return [encode(entry) for entry in value]
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return {'@array': [str(value.dtype), list(value.shape), value.ravel().tolist()]}
    raise TypeError(f'{type(value).__name__} has no place in JSON')


def decode(value: Any) -> Any:
    if isinstance(value, list):
        return [decode(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if '@dict' in value:
        return {decode(key): decode(entry) for key, entry in value['@dict']}
    if '@tuple' in value:
        return tuple(decode(entry) for entry in value['@tuple'])
    if '@array' in value:
        dtype, shape, entries = value['@array']
        return np.array(entries, dtype).reshape(shape)
    return {key: decode(entry) for key, entry in value.items()}
