"""The classes that a config names."""
import os.path as osp
from collections.abc import Mapping
from typing import Any, Optional

from mmengine.fileio import list_from_file


def class_names(dataset: Mapping, known: Optional[Mapping] = None) -> Optional[tuple]:
    """The classes of a dataset's config: listed there, or in the text file that it names.

    Args:
        dataset: config of a dataset.
        known: metainfo that the kind of dataset has by itself.
    """
    metainfo = dataset.get('metainfo')
    given = (metainfo or {}).get('classes') if isinstance(metainfo, (Mapping, type(None))) else None
    for names in (given, dataset.get('classes'), (known or {}).get('classes')):
        if names is not None:
            return read_names(names)
    return None


def read_names(names: Any) -> Optional[tuple]:
    """Names from a list, or from the lines of a file."""
    if isinstance(names, str):
        path = osp.expanduser(names)
        return tuple(list_from_file(path)) if osp.isfile(path) else None
    return tuple(names) if isinstance(names, (list, tuple)) else None
