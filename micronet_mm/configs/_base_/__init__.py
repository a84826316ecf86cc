"""What the configs have in common."""
