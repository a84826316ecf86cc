"""Imported first by every tool: PyTorch reads some of what is set there when it is loaded."""
import micronet_mm_process  # noqa: F401
