"""From a trained model to what is deployed."""
from micronet_mm.deploy.fold import switch_to_deploy

from .plan.engine import refresh_plans

__all__ = ['refresh_plans', 'switch_to_deploy']
