"""The image files of a folder tree."""

from collections.abc import Iterator
from pathlib import Path

from gan.data.index import Version
from gan.errors import InputError
from gan.sound.figure.reader import SUFFIXES
from gan.sound.figure.report import REPORT_SUFFIX
from gan.walk import describe_unread, in_order, walk

# What pictures come in that are not read.
UNREAD_SUFFIXES = frozenset(
    {
        ".apng", ".avif", ".eps", ".exr", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".pbm",
        ".pdf", ".pgm", ".pnm", ".ppm", ".ps", ".psd", ".svg", ".svgz", ".tga", ".xcf",
    }
)  # fmt: skip


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
        found = in_order(walk_images(images, store))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{images}: no such folder; make images with `gan encode RECORDINGS {images}`") from error
    except OSError as error:
        raise InputError(
            f"{error.filename or images}: cannot be listed ({error.strerror}); run again when it can be"
        ) from error
    if not found:
        unread = describe_unread_images(images)
        advice = unread or f"make some with `gan encode RECORDINGS {images}`"
        raise InputError(
            f"{images}: no images ({', '.join(f'*{suffix}' for suffix in sorted(SUFFIXES))}) in it; {advice}"
        )
    return found


def has_images(images: Path) -> bool:
    """Whether `find_images` finds any, or says why the folder cannot be listed; False for a missing folder."""
    try:
        return any(walk_images(images))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def walk_images(images: Path, store: Path | None = None) -> Iterator[Version]:
    """The files of `find_versions`, in no particular order, and none if there are none.

    Raises:
        OSError: If the folder, or something in it that is there, cannot be listed.
    """
    return (stamp for stamp in walk(images, SUFFIXES, store) if not stamp[0].lower().endswith(REPORT_SUFFIX))


def describe_unread_images(images: Path) -> str:
    """Say which pictures of a folder tree are of formats that are not read; nothing if there are none."""
    return describe_unread(images, UNREAD_SUFFIXES, SUFFIXES, "magick {} {}", ".png")
