"""What surrounds a run: command line, checks of the files it needs."""
