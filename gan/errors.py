"""The one error that is the user's to mend."""


class InputError(ValueError):
    """What was given cannot be used.

    The message is one line that a person can act on: the file or option, what was found, what was expected and what
    to do. Commands print it without a traceback and exit with 2.
    """
