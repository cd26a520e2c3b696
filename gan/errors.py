"""The errors that are told in one line, without a traceback."""

import errno
from typing import TypeGuard


def one_line(text: str) -> str:
    """Text as one line of letters: what breaks lines is a space, and what a terminal would obey is shown, not done.

    Names of files and texts in them are anybody's, and so are other libraries' messages.
    """
    joined = " ".join(part.strip() for part in text.splitlines()) if len(text.splitlines()) > 1 else text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in joined)


class InputError(ValueError):
    """What was given cannot be used.

    The message is one line that a person can act on: the file or option, what was found, what was expected and what
    to do. Commands print it without a traceback and exit with 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class NotNow(InputError):  # noqa: N818 - it is what happened
    """What was given could not be used this time, for want of memory, workers or its disk: another time it may."""


def is_of_disk(error: Exception) -> TypeGuard[OSError]:
    """Whether reading a file ended for a reason that is not in the file: its disk, its rights, too many open files."""
    # What readers of files call an OSError has no number; a place before the file's beginning, which a damaged file may
    # name, has this one.
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def unreadable(path: object, error: Exception, why: str) -> InputError:
    """What to raise for a file whose reader raised an error.

    Args:
        path: The file.
        error: What was raised.
        why: The line, if the reason is in the file; else it is `NotNow`.
    """
    return NotNow(f"{path}: cannot be read ({error.strerror})") if is_of_disk(error) else InputError(why)


class Diverged(RuntimeError):  # noqa: N818 - it is what happened, and nobody's error
    """A training's losses or weights are no longer numbers, so going on is of no use.

    The message is one line: what is not a number and since when, what is kept, and how to go on. Trainings print it
    without a traceback and exit with 1.
    """


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A training ends before its end: it was asked to, or the disk is full. It can be gone on with.

    The message is one line: after which batch, what is saved, and how to go on. Trainings print it without a traceback.

    Attributes:
        exit_code: 130 after Ctrl-C and 143 after SIGTERM, as shells and schedulers expect; 1 for a full disk.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
