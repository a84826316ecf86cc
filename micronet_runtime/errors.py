"""What a user can put right. Each message is one line: what was given, what is allowed, what to do."""


class InputError(ValueError):
    """A file, an image or a number that cannot be used."""


class MissingInputError(InputError, FileNotFoundError):
    """A file that is not there."""
