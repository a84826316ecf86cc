"""From a trained model to what is deployed."""
from .form import switch_to_deploy

__all__ = ['switch_to_deploy']
