"""Output files: which files that are there already a verb may replace."""

import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import NamedTuple

from gan.errors import InputError
from gan.files import PART, refuse_unwritable, unwritable

# Bytes of a page that its generator's tag must stand in.
_HEAD_BYTES = 4000


class Mark(NamedTuple):
    """How a verb recognizes its own earlier output, which it may replace.

    Attributes:
        kind: Kind of file, for messages, as in "is no page of gan listen".
        found_in: Whether an existing regular file has the mark; False, not an error, for a file that cannot be read.
    """

    kind: str
    found_in: Callable[[Path], bool]


class Outputs:
    """The rules by which existing files are replaced, the same for every verb.

    A file with the verb's own mark is replaced. Any other file, and a link, is replaced only if somebody asked for it.
    A file that the verb reads, a folder, a pipe and a device are never replaced.

    Args:
        inputs: Files that the verb reads; what is not there is passed over.
        overwrite: Whether somebody asked.
        advice: What to do about a file that is there, for messages.
    """

    def __init__(
        self,
        inputs: Iterable[Path] = (),
        overwrite: bool = False,
        advice: str = "give another --output, or --overwrite",
    ) -> None:
        self._inputs = {found for path in inputs if (found := _identity(path)) is not None}
        self._overwrite = overwrite
        self._advice = advice

    def check(self, path: Path, mark: Mark | None = None) -> None:
        """Refuse an output that may not be written. Call it for every output before the work.

        Args:
            path: The file to write; neither it nor its folder has to exist.
            mark: What tells the verb's own output; None if even that is kept.

        Raises:
            InputError: If it may not be replaced, or its folder cannot be written to.
        """
        refuse_unwritable(path.parent)
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise unwritable(path, error) from error
        # A path, a hard link and a symbolic link of one file have one identity, however the path is spelled.
        if _identity(path) in self._inputs:
            raise InputError(f"{path} is a file that this command reads, which is never replaced; name another output")
        if path.is_dir():
            raise InputError(f"{path} is a folder, which no file can replace; name a file in it, or another one")
        if not (S_ISREG(mode) or S_ISLNK(mode)):
            raise InputError(f"{path} is a pipe or a device, which no file can replace; name another output")
        if self._overwrite:
            return
        if S_ISLNK(mode):
            # No verb makes links: even one to an own output was made by somebody else.
            raise InputError(f"{path} is a link, so it is left alone; {self._advice}")
        if mark is None:
            raise InputError(f"{path} is there already; {self._advice}")
        if not mark.found_in(path):
            raise InputError(f"{path} is no {mark.kind}, so it is left alone; {self._advice}")


def shared_outputs(outputs: Mapping[Path, Path]) -> dict[Path, Path]:
    """Find inputs that would write the same file, through links or names that the disk does not tell apart.

    Args:
        outputs: The output of each input.

    Returns:
        For each input whose output is another input's too, the first of those.
    """
    folders: dict[Path, Path] = {}
    inputs: dict[str, dict[str, Path]] = {}
    shared: dict[Path, Path] = {}
    for source, path in outputs.items():
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        exact = str(folders[path.parent] / path.name)
        alike = inputs.setdefault(unicodedata.normalize("NFC", exact).casefold(), {})
        if exact in alike:
            shared[source] = alike[exact]
        elif alike and _ignores_case(folders[path.parent]):
            shared[source] = next(iter(alike.values()))
        else:
            alike[exact] = source
    return shared


def generator_tag(generator: str) -> str:
    """The HTML tag that says which program made a page."""
    return f'<meta name="generator" content="{generator}">'


def page_mark(kind: str, generator: str, *earlier: str) -> Mark:
    """The mark of HTML pages with a generator's tag.

    Args:
        kind: Kind of page, for messages.
        generator: As of `generator_tag`.
        earlier: Texts near the beginning that, all together, tell pages of versions without the tag.
    """

    def found_in(path: Path) -> bool:
        head = _head(path)
        told = earlier and all(text.encode() in head for text in earlier)
        return bool(generator_tag(generator).encode() in head or told)

    return Mark(kind, found_in)


def starts_with(path: Path, start: bytes) -> bool:
    """Whether a file begins with some bytes; False if it cannot be read."""
    return _head(path).startswith(start)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file, that of its target for a link; None if it is not there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _ignores_case(folder: Path) -> bool:
    """Whether names that differ by case only are one file in a folder, which may not be there yet."""
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".case.", suffix=PART) as file:
            return (there / Path(file.name).name.upper()).exists()
    except OSError:
        return False
