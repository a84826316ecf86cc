"""Necks of Micro-Blocks."""
