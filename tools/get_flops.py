#!/usr/bin/env python
"""Count a config's model: `micronet-mm flops` of a checkout."""
import _process  # noqa: F401

from micronet_mm.commands.flops import main

if __name__ == '__main__':
    main()
