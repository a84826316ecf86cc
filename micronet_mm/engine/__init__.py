"""What surrounds a run: hooks, the command line, checks of the files it needs."""
