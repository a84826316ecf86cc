"""A small dataset in COCO format, made from a seed."""
from .figures import CLASSES, write_figures

__all__ = ['CLASSES', 'write_figures']
