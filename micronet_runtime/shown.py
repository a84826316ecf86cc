"""Values in messages."""
import reprlib
from pathlib import Path
from typing import Any

LONGEST = 100  # characters

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = SHORT.maxlong = 60
SHORT.maxlevel, SHORT.maxlist, SHORT.maxtuple, SHORT.maxdict = 2, 4, 4, 3


def shown(value: Any) -> str:
    """Return a value as it can stand in a message: one line of at most 100 characters, but for paths.

    Arrays and tensors are told by their shape and type, bytes by their number.
    """
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f'{len(value)} bytes'
    try:
        if hasattr(value, 'shape') and hasattr(value, 'dtype') and getattr(value, 'ndim', 0):
            return f'{type(value).__name__} of shape {tuple(value.shape)} and type {value.dtype}'
        text = SHORT.repr(value) if isinstance(value, (str, list, tuple, dict, set, frozenset)) else repr(value)
    except Exception:  # a repr of the user's own
        text = f'an object of class {type(value).__name__}'
    return one_line(text, LONGEST)


def one_line(text: Any, longest: int = 200) -> str:
    """Return a text, or an error's, without line breaks, cut in the middle if it is longer."""
    text = ' '.join(str(text).split())
    half = (longest - 5) // 2
    return text if len(text) <= longest else f'{text[:half]} ... {text[-half:]}'
