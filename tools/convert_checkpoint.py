#!/usr/bin/env python
"""Convert a released checkpoint: `micronet-mm convert` of a checkout."""
import _process  # noqa: F401

from micronet_mm.commands.convert import main

if __name__ == '__main__':
    main()
