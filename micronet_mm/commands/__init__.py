"""What ``micronet-mm`` and the tools of the same names do: a module each, with its ``main``."""
