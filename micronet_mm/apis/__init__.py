"""What MMLab's packages have as ``apis``: models run on pictures and videos of one's own. Importing it needs mmpose."""
from .poses import PeopleInferencer, find_poses

__all__ = ['PeopleInferencer', 'find_poses']
