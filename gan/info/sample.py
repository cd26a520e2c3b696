"""Some of many files, so that a folder of a hundred thousand is described as quickly as one of a thousand."""

from collections.abc import Sequence
from pathlib import Path

_MOST = 2000


def evenly(paths: Sequence[Path]) -> list[Path]:
    """At most 2,000 of some paths, evenly spread."""
    if len(paths) <= _MOST:
        return list(paths)
    return [paths[number * len(paths) // _MOST] for number in range(_MOST)]
