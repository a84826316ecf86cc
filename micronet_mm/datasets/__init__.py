"""Loading images that may be broken, and a small dataset in COCO format, made from a seed."""
from .figures import CLASSES, write_figures
from .loading import LoadImageOrSkip, UnreadableImageError

__all__ = ['CLASSES', 'LoadImageOrSkip', 'UnreadableImageError', 'write_figures']
