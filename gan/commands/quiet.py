"""Keeps what other libraries say of damaged files away from what this program says of them."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from gan.errors import InputError


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what Pillow warns of and logs, and what libraries in C (libtiff, libmpg123) print by themselves.

    What is wrong with a file is said by this program, once and by its name. If the block ends with an error that
    nobody expected, what the libraries in C had to say is printed after all.
    """
    own = sys.stderr
    pillow, silence = logging.getLogger("PIL"), logging.NullHandler()
    pillow.addHandler(silence)
    with tempfile.TemporaryFile() as heard, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        # They know stderr by its number: that becomes a file, and Python's own stderr a copy of what it was.
        before = os.dup(2)
        if _is_the_process_own(own):
            sys.stderr = os.fdopen(os.dup(2), "w", 1, own.encoding, "backslashreplace")
        os.dup2(heard.fileno(), 2)
        unexpected = True
        try:
            yield
            unexpected = False
        except (InputError, KeyboardInterrupt, SystemExit):
            unexpected = False
            raise
        finally:
            pillow.removeHandler(silence)
            os.dup2(before, 2)
            os.close(before)
            if sys.stderr is not own:
                sys.stderr.close()
                sys.stderr = own
            if unexpected:
                heard.seek(0)
                print(heard.read().decode(errors="replace"), end="", file=own)


def _is_the_process_own(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError):
        return False
