"""A page in the browser that runs models on a picture: what they find, how long they take, what they cost.

It stands upon ``micronet_runtime``, which prepares pictures, runs exported files and draws, and upon gradio. A model
given as a config and a checkpoint brings in ``micronet_mm`` (``pytorch.py``), and nothing else does.
``tools/demo_web.py`` is its command line.

    >>> from micronet_web import find_models, serve
    >>> serve(find_models('exported/'), port=7860)
"""
from .models import Offer, find_models, offer_of_pair, offered

__all__ = ['Offer', 'find_models', 'offer_of_pair', 'offered', 'serve']


def serve(*args, **kwargs) -> None:
    """:func:`micronet_web.page.serve`, which loads gradio."""
    from .page import serve
    serve(*args, **kwargs)
