"""What a network costs."""
from .complexity import Complexity, Cost, count

__all__ = ['Complexity', 'Cost', 'count']
