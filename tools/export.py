#!/usr/bin/env python
"""Write a model as ONNX or a plan: `micronet-mm export` of a checkout."""
import _process  # noqa: F401

from micronet_mm.commands.export import main

if __name__ == '__main__':
    main()
