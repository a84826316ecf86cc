#!/usr/bin/env python
"""Find people and their poses: `micronet-mm find-poses` of a checkout."""
import _process  # noqa: F401

from micronet_mm.commands.find_poses import main

if __name__ == '__main__':
    main()
