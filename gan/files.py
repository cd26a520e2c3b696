"""Files that are either whole or not there, and what is no file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from gan.errors import InputError

# Ends the names of files that are not whole, and of those that only say that work goes on.
PART = ".part"
# The name is too long, has letters that the disk does not take, or leads through a file or to a folder.
_OF_NAME = {
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY,
    errno.ELOOP,
}  # fmt: skip
# Bytes of a path, with its end, on Linux.
_PATH_MAX = 4096
# The folder may not be written to.
_OF_FOLDER = {errno.EACCES, errno.EPERM}


class NameRefused(InputError):  # noqa: N818 - it is what happened
    """A file cannot be written under its name or in its folder; others can."""


def unwritable(path: Path, error: Exception, root: Path | None = None) -> InputError:
    """What to raise for a file that could not be written.

    Args:
        path: The file.
        error: What was raised.
        root: The folder that others are written to.

    Returns:
        `NameRefused` if others can be written; not if the disk is full or fails.
    """
    if isinstance(error, UnicodeError):
        return NameRefused(f"{path}: cannot be written, its name is no text; rename it")
    if not isinstance(error, OSError):
        return InputError(f"{path}: cannot be written ({error})")
    why = f"{path}: cannot be written ({error.strerror or error})"
    if error.errno == errno.ENAMETOOLONG:
        whole, longest = len(os.fsencode(path)), max(len(os.fsencode(part)) for part in path.parts)
        found = f"a path of {whole} bytes, 4096" if whole >= _PATH_MAX else f"a name of {longest} bytes, 255"
        return NameRefused(f"{why}: {found} is usual; rename it, or name another folder")
    if error.errno in _OF_NAME or (error.errno in _OF_FOLDER and os.access(root or path.parent, os.W_OK | os.X_OK)):
        return NameRefused(why)
    return InputError(why)


@contextmanager
def atomic_write(path: Path, sync: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` and rename it to `path` once the block has ended without an error.

    The temporary file lies in the same folder, so that the rename is atomic, and is synced to disk before it, so that
    a power cut leaves either the old file or the new one.

    Args:
        path: The file to write. Its folder is made if it is missing.
        sync: Whether it has to outlive a power cut; what does not is written faster.

    Yields:
        The path to write to. It exists and is empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f"{_start_of_part(path)}{os.urandom(8).hex()}{PART}"
    # With the usual permissions, which files of `tempfile` have not.
    part.touch(exist_ok=False)
    try:
        yield part
        if sync:
            sync_to_disk(part)
        part.replace(path)
        if sync:
            sync_to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def refuse_pipes(path: Path) -> None:
    """Refuse what is neither a file nor a folder: who opens a pipe waits for somebody to write.

    Raises:
        InputError: If it is.
        OSError: If it is not there.
    """
    mode = path.stat().st_mode
    if not (S_ISREG(mode) or S_ISDIR(mode)):
        raise InputError(f"{path}: a pipe or a device, where a file was expected")


def refuse_unwritable(folder: Path) -> None:
    """Refuse a folder that files cannot be written to, before there is work to lose. It is not made.

    Raises:
        InputError: If it is or lies in something else than a folder, or may not be written to.
    """
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.exists():
        raise InputError(f"{folder}: cannot be written, {there} is a link to nothing; name another folder")
    if not there.is_dir():
        raise InputError(f"{folder}: cannot be written, {there} is a file; name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written, {there} may not be written to; name another folder")


def remove_parts(folder: Path) -> None:
    """Remove what `atomic_write` left below a folder when its process was killed.

    Args:
        folder: A folder that no other process writes to.
    """
    for part in folder.rglob(f".*{PART}"):
        part.unlink(missing_ok=True)


def remove_parts_of(path: Path) -> None:
    """Remove what `atomic_write` left of one file when its process was killed.

    Args:
        path: A file that no other process writes.
    """
    for part in path.parent.glob(f"{escape(_start_of_part(path))}*{PART}"):
        part.unlink(missing_ok=True)


def sync_to_disk(path: Path) -> None:
    """Bring a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _start_of_part(path: Path) -> str:
    # A name may have 255 bytes, and a letter four of them.
    return f".{path.name[:50]}."
