"""MicroNet by name, in the manner of timm."""
from .create import create_model, list_models, list_pretrained

__all__ = ['create_model', 'list_models', 'list_pretrained']
