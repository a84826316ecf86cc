"""A network in deploy form as a flat list of steps that native code runs."""
