"""The files of a folder tree by their suffix: one set of rules for recordings and for pictures.

Linked folders are followed, hidden files and folders are left out. Below the folder that was given only: its own path
may have any names in it.
"""

import errno
import heapq
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from gan.errors import one_line

# Path relative to the folder, with forward slashes; size in bytes; time of the last change in ns.
FileStamp = tuple[str, int, int]

# So many names are enough for a line.
_MOST_NAMED = 3
# Folders that systems keep to themselves: macOS's archives, Synology's and QNAP's disks, Windows' disks.
_SYSTEM_FOLDERS = {"__macosx", "@eadir", "@recycle", "#recycle", "$recycle.bin", "system volume information"}
# The entry was removed a moment ago, is somebody else's, or is a link to nothing or to itself.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG}


def walk(
    folder: Path, suffixes: Collection[str], besides: Path | None = None, lost: list[str] | None = None
) -> Iterator[FileStamp]:
    """List the files of a folder tree that have one of these suffixes, in no particular order.

    Links to files and folders are followed. What lies in the tree itself comes first and under its own name: a file or
    folder that is reached twice is listed once, and a link to a folder that it lies in is not followed.

    Args:
        folder: The folder.
        suffixes: Ends of names, in lower case; names may have either case.
        besides: A folder that is left out.
        lost: Gets what cannot be followed, relative to the folder: links to nothing, folders that may not be read.

    Yields:
        The files.

    Raises:
        OSError: If the folder, or something in it that is there, cannot be listed.
    """
    # With text and not with paths: there may be hundreds of thousands, whenever a training starts.
    ends = tuple(suffixes)
    left_out = None if besides is None else os.path.realpath(besides)
    # Real paths of folders.
    listed = set[str]()
    folders, folder_links, file_links = [""], list[str](), list[str]()
    while folders or folder_links:
        # Linked ones last, in the order of their names, so that the same tree is always listed alike.
        inside = folders.pop() if folders else heapq.heappop(folder_links)
        real = os.path.realpath(folder / inside)
        if real in listed or (inside and real == left_out):
            continue
        listed.add(real)
        # One after the other: each remembers what is asked of it, a hundred MB if all are kept.
        for entry in _entries(folder, inside, lost):
            file, name = f"{inside}{entry.name}", entry.name.lower()
            if _is_hidden(name):
                continue
            if entry.is_symlink():
                if not _is_folder(entry):
                    file_links.append(file)
                elif not _holds(os.path.realpath(entry.path), real):
                    heapq.heappush(folder_links, f"{file}/")
            elif entry.is_dir(follow_symlinks=False):
                folders.append(f"{file}/")
            elif name.endswith(ends):
                yield from _stamp(file, entry.stat)
    # When all folders are known, so are the files that are listed under their own name.
    yield from _linked_files(folder, file_links, listed, ends)
    if lost is not None:
        lost.extend(link for link in file_links if _leads_nowhere(folder / link))


def in_order(stamps: Iterable[FileStamp]) -> list[FileStamp]:
    """Files in the order that sorted paths have: part by part, nothing before the end of a part."""
    return sorted(stamps, key=lambda stamp: stamp[0].replace("/", "\0"))


def describe_unread(folder: Path, suffixes: Collection[str], read: Collection[str], command: str, suffix: str) -> str:
    """Say which files of a folder tree are left out: formats that are not read, and what links and rights hide.

    Args:
        folder: The folder.
        suffixes: Those of formats that are not read.
        read: Those of formats that are.
        command: What converts one, with {} for it and {} for what it becomes.
        suffix: Of what it becomes.

    Returns:
        Up to two lines; nothing if nothing is left out, or if the folder cannot be listed.
    """
    lost: list[str] = []
    try:
        left = [Path(file) for file, _, _ in in_order(walk(folder, suffixes, lost=lost))]
    except OSError:
        return ""
    # A link to a folder of a disk that is not there has no suffix.
    lost = sorted(file for file in lost if Path(file).suffix.lower() in {"", *suffixes, *read} or file.endswith("/"))
    lines = []
    if left:
        kinds = ", ".join(sorted({file.suffix.lower() for file in left}))
        first = folder / left[0]
        example = command.format(shlex.quote(str(first)), shlex.quote(str(first.with_suffix(suffix))))
        lines.append(f"{len(left)} left out: {kinds}; convert them first: {example}")
    if lost:
        some = ", ".join(str(folder / file) for file in lost[:_MOST_NAMED])
        more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        lines.append(f"{len(lost)} left out: links to nothing, or folders that may not be read: {some}{more}")
    return "\n".join(one_line(line) for line in lines)


def _linked_files(folder: Path, links: list[str], listed: set[str], ends: tuple[str, ...]) -> Iterator[FileStamp]:
    """The files that nothing but a link leads to, once each."""
    linked = set[str]()
    for file in sorted(link for link in links if link.lower().endswith(ends)):
        target = os.path.realpath(folder / file)
        where, name = os.path.split(target)
        is_listed = where in listed and not _is_hidden(name.lower()) and name.lower().endswith(ends)
        if not is_listed and target not in linked:
            linked.add(target)
            yield from _stamp(file, (folder / file).stat)


def _is_hidden(name: str) -> bool:
    """Whether a name in lower case is one of files or folders that people are not to see."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def _holds(folder: str, inner: str) -> bool:
    """Whether a folder is another or has it somewhere below; both are real paths."""
    return inner == folder or Path(folder) in Path(inner).parents


def _leads_nowhere(link: Path) -> bool:
    """Whether there is nothing behind a link, or nothing that may be seen."""
    try:
        link.stat()
    except OSError:
        return True
    return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a link leads to a folder."""
    try:
        return S_ISDIR(entry.stat().st_mode)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return False


def _stamp(file: str, stat: Callable[[], os.stat_result]) -> Iterator[FileStamp]:
    """The file, if it is there and is one: a pipe would be waited for."""
    try:
        status = stat()
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return
    if S_ISREG(status.st_mode):
        yield file, status.st_size, status.st_mtime_ns


def _entries(folder: Path, inside: str, lost: list[str] | None) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder / inside) as entries:
            yield from entries
    except OSError as error:
        # Of a disk that fails, files would be taken for removed, and forgotten.
        if not inside or error.errno not in _NOT_THERE:
            raise
        if lost is not None:
            lost.append(inside)
