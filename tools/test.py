#!/usr/bin/env python
"""Evaluate a checkpoint: `micronet-mm test` of a checkout."""
import _process  # noqa: F401

from micronet_mm.commands.test import main

if __name__ == '__main__':
    main()
