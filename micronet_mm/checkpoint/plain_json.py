"""What MMEngine keeps beside weights, as JSON: the only place for it in safetensors is a string.

JSON has no tuples, no arrays and no numbers as keys, all of which mmpose's descriptions of keypoints have, so each is
written as an object of one key that begins with '@'.
"""
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_json(value: Any) -> str:
    """The value as JSON.

    Raises:
        TypeError: if there is more in it than None, texts, numbers, lists, tuples, dicts and numeric arrays.
    """
    return json.dumps(encode(value), sort_keys=True)


def from_json(text: str) -> Any:
    """What :func:`to_json` was given; raises ValueError for what it did not write."""
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
