#!/usr/bin/env python
"""Train from a config: `micronet-mm train` of a checkout."""
import _process  # noqa: F401

from micronet_mm.commands.train import main

if __name__ == '__main__':
    main()
