"""The image files of a folder tree."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from gan.data.index import Version
from gan.errors import InputError
from gan.sound.figure.reader import SUFFIXES
from gan.sound.figure.report import REPORT_SUFFIX

_SUFFIXES = tuple(SUFFIXES)
# Of what was removed a moment ago, is somebody else's, or is a link to nothing or to itself.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG}


def find_images(images: Path, store: Path | None = None) -> list[Path]:
    """All images and figures of a folder tree by their suffix, sorted, so that a recording's follow each other.

    Args:
        images: The folder.
        store: A folder that is left out, as hidden files and folders are.

    Raises:
        InputError: If the folder is missing, cannot be listed or has none.
    """
    return [images / file for file, _, _ in find_versions(images, store)]


def find_versions(images: Path, store: Path | None = None) -> list[Version]:
    """What `find_images` finds, in the same order, with what tells whether each file has changed; raises as it does."""
    try:
        # As paths are sorted, part by part: nothing comes before the end of a part.
        found = sorted(_candidates(images, store), key=lambda version: version[0].replace("/", "\0"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{images}: no such folder; make images with `gan encode RECORDINGS {images}`") from error
    except OSError as error:
        raise InputError(
            f"{error.filename or images}: cannot be listed ({error.strerror}); run again when it can be"
        ) from error
    if not found:
        raise InputError(
            f"{images}: no images ({', '.join(f'*{suffix}' for suffix in sorted(SUFFIXES))}) in it; make some with "
            f"`gan encode RECORDINGS {images}`"
        )
    return found


def has_images(images: Path) -> bool:
    """Whether `find_images` finds any, or says why the folder cannot be listed; False for a missing folder."""
    try:
        return any(_candidates(images, None))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _candidates(images: Path, store: Path | None) -> Iterator[Version]:
    # With text and not with paths: there may be hundreds of thousands, whenever a training starts.
    hidden_too = None if store is None else os.path.realpath(store)
    folders = [""]
    while folders:
        folder = folders.pop()
        # One after the other: each remembers what is asked of it, a hundred MB if all are kept.
        for entry in _entries(images, folder):
            name = entry.name.lower()
            if name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if os.path.realpath(entry.path) != hidden_too:
                    folders.append(f"{folder}{entry.name}/")
            elif name.endswith(_SUFFIXES) and not name.endswith(REPORT_SUFFIX):
                try:
                    status = entry.stat()
                except OSError as error:
                    if error.errno not in _NOT_THERE:
                        raise
                    continue
                # A pipe would be waited for.
                if S_ISREG(status.st_mode):
                    yield f"{folder}{entry.name}", status.st_size, status.st_mtime_ns


def _entries(images: Path, folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(images / folder) as entries:
            yield from entries
    except OSError as error:
        # Of a disk that fails, images would be taken for removed, and forgotten.
        if not folder or error.errno not in _NOT_THERE:
            raise
