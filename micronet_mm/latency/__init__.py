"""How long a forward pass takes: of which networks, in which forms, measured in turn."""
