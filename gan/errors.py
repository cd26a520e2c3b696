"""The errors that are told in one line, without a traceback."""


class InputError(ValueError):
    """What was given cannot be used.

    The message is one line that a person can act on: the file or option, what was found, what was expected and what
    to do. Commands print it without a traceback and exit with 2.
    """


class Diverged(RuntimeError):  # noqa: N818 - it is what happened, and nobody's error
    """A training's losses or weights are no longer numbers, so going on is of no use.

    The message is one line: what is not a number and since when, what is kept, and how to go on. Trainings print it
    without a traceback and exit with 1.
    """


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A training was asked to stop, has completed its batch, and was saved.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM, as shells and schedulers expect.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number
