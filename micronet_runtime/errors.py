"""What a user can put right. Each message is one line: what was given, what is allowed, what to do."""


class InputError(ValueError):
    """A file, an image or a number that cannot be used."""


class MissingInputError(InputError, FileNotFoundError):
    """A file that is not there."""


class PlanError(InputError):
    """A plan that is damaged or none, or whose library is missing or does not run here."""
