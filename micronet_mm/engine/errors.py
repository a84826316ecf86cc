"""Why a run stops itself."""


class RunStopped(RuntimeError):
    """The run cannot go on usefully; the message says why and what to do, in one line."""


class InvalidLossError(RunStopped):
    """The loss is not finite."""


class TooManyBrokenImagesError(RunStopped):
    """More images than allowed are missing or unreadable."""
