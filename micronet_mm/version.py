"""The version, for the package and for setup.py, which reads it from here."""
__version__ = '0.1.0'
