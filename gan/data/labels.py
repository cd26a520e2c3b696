"""Labels of images, from their paths."""

import re
from collections.abc import Sequence
from pathlib import Path

from gan.errors import InputError


def find_labels(files: Sequence[str], pattern: str, folder: Path) -> list[str]:
    """Name of each image's class.

    Args:
        files: Paths relative to the folder, with forward slashes.
        pattern: "folder" for the first sub-folder, or a regular expression with one group, which is searched for.
        folder: The folder of images, for messages.

    Raises:
        InputError: If the pattern is none, or does not fit a path.
    """
    expression = "([^/]+)/" if pattern == "folder" else pattern
    compiled = compile_pattern("labels", expression)
    if compiled.groups != 1:
        raise InputError(f"data.labels is {pattern!r}; it must have one group, e.g. '([0-9])_', or be 'folder'")
    names = []
    for file in files:
        found = compiled.match(file) if pattern == "folder" else compiled.search(file)
        if found is None or found.group(1) is None:
            raise InputError(f"{folder / file}: no label in its path ({pattern}); move or rename it")
        names.append(found.group(1))
    return names


def count_classes(names: Sequence[str], pattern: str) -> int:
    """Number of classes that networks can be told apart.

    Args:
        names: Name of each image's class.
        pattern: Where the names are from.

    Raises:
        InputError: If there is one class only.
    """
    classes = set(names)
    if len(classes) == 1:
        raise InputError(
            f"data.conditional: all {len(names)} images are of the class {min(classes)!r} (data.labels is "
            f"{pattern!r}), two or more are needed; set data.conditional to false, or say with data.labels what tells "
            "them apart"
        )
    return len(classes)


def check_trained(names: Sequence[str], train: Sequence[int]) -> None:
    """Refuse a split that leaves a class without an image to train on.

    Args:
        names: Name of each image's class.
        train: The images to train on.

    Raises:
        InputError: If there is such a class.
    """
    if missing := sorted(set(names) - {names[index] for index in train}):
        raise InputError(
            f"data.conditional: no image of the class {', '.join(map(repr, missing))} is left to train on, all are "
            "held out; hold out others with data.validation, or a random share without it"
        )


def compile_pattern(option: str, pattern: str) -> re.Pattern[str]:
    """A regular expression that a user gave.

    Raises:
        InputError: If it is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"data.{option} is {pattern!r}, which is no regular expression ({error})") from error
