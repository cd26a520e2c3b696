"""A store that is being built: its frames, and a journal of the images that are done, so that a kill costs seconds."""

import dataclasses
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gan.data.index import StoredImage, Version
from gan.data.kind import Kind
from gan.data.shards import new_name, row_bytes
from gan.data.source import Decoded
from gan.errors import InputError, NotNow
from gan.plain import made_of

JOURNAL = "building.jsonl"
FRAMES = "building.frames"
# From one sync to disk to the next: what a kill can cost.
_SYNC_SECONDS = 2.0


class Building:
    """The frames and the journal of a store that is being built. Use it in a `with` statement.

    It goes on where a stopped one was, if that was made in the same way. What was done of files that have changed
    since is forgotten, and their rows remain unused.

    Args:
        folder: Where the store is to lie.
        made: Says in which way it is made.
        versions: The files as they are now.

    Attributes:
        kind: What the images have in common; None as long as that is not known.
        images: The lines of the index by file.
        skipped: What is wrong with the files that are left out, by file.
        unfinished: Whether one of them may be read another time.
        n_rows: Frames up to now.
    """

    def __init__(self, folder: Path, made: str, versions: Iterable[Version]) -> None:
        self._folder = folder
        self._made = made
        self.kind: Kind | None = None
        self.images: dict[str, StoredImage] = {}
        self.skipped: dict[str, str] = {}
        self.unfinished = False
        self.n_rows = 0
        self._n_gone = 0
        self._shard: str | None = None
        self._unsynced: list[str] = []
        self._synced = time.monotonic()
        n_bytes = self._read({version[0]: version for version in versions})
        (folder / FRAMES).touch()
        self._frames = (folder / FRAMES).open("r+b")
        self._journal = (folder / JOURNAL).open("ab")
        if n_bytes and (self.images or self.skipped):
            # A line that was cut off must not become the beginning of the next one.
            self._journal.truncate(n_bytes)
        else:
            self.restart()

    def restart(self) -> None:
        """Forget all that was done."""
        self.kind, self.images, self.skipped, self.n_rows, self._unsynced = None, {}, {}, 0, []
        self.unfinished = False
        self._journal.truncate(0)
        self._frames.truncate(0)
        self._note("made", self._made)

    def start(self, kind: Kind) -> None:
        """Say what the images have in common, before the first is added."""
        self.kind = kind
        self._note("kind", kind.to_dict())

    def add(self, decoded: Decoded) -> None:
        """Append an image's frames."""
        image = dataclasses.replace(decoded.image, first_row=self.n_rows)
        at = self.n_rows * row_bytes(decoded.kind.settings)
        rest = decoded.codes.data.cast("B")
        while rest:
            # No more than 2 GB are written at a time, whatever was asked for.
            n_written = os.pwrite(self._frames.fileno(), rest, at)
            rest, at = rest[n_written:], at + n_written
        self.n_rows += image.n_frames
        self.images[image.file] = image
        self._note("image", dataclasses.asdict(image))

    def skip(self, version: Version, error: InputError) -> None:
        """Leave a file out."""
        self.skipped[version[0]] = str(error)
        if isinstance(error, NotNow):
            self.unfinished = True
        else:
            self._note("skipped", [version, str(error)])

    def finish(self) -> str | None:
        """Make the frames whole.

        Returns:
            The name of the shard that `place` makes of them; None if it makes none, as nothing was added.
        """
        if self.kind is None or not self.images:
            return None
        # A kill may have left more than the journal knows.
        self._frames.truncate(self.n_rows * row_bytes(self.kind.settings))
        self.sync()
        self._shard = new_name()
        return self._shard

    def place(self) -> None:
        """Make a shard of the frames, once all else is on disk: until then a stopped build can go on with them."""
        if self._shard is not None:
            (self._folder / FRAMES).replace(self._folder / self._shard)

    def remove_journal(self) -> None:
        """Forget how the frames were made."""
        (self._folder / JOURNAL).unlink()

    def sync(self) -> None:
        """Bring what is done to disk."""
        # Frames before the lines that name them: a line must not outlive a power cut that its frames did not.
        os.fsync(self._frames.fileno())
        self._journal.write("".join(self._unsynced).encode())
        self._journal.flush()
        self._unsynced = []
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.sync()
        finally:
            self._frames.close()
            self._journal.close()

    def _note(self, what: str, content: Any) -> None:
        self._unsynced.append(json.dumps({what: content}) + "\n")
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()

    def _read(self, versions: dict[str, Version]) -> int:
        """Read the journal of a stopped build; returns how many of its bytes can be used."""
        try:
            lines = (self._folder / JOURNAL).read_bytes().splitlines(keepends=True)
            n_frames_bytes = (self._folder / FRAMES).stat().st_size
        except OSError:
            return 0
        n_bytes = 0
        for line in lines:
            if not line.endswith(b"\n"):
                # Cut off, if only by its end: the next would be appended to it.
                break
            try:
                ((what, content),) = json.loads(line).items()
                if what == "made" and content != self._made:
                    return 0
                self._recall(what, content, versions)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                break
            n_bytes += len(line)
        # What was agreed on was of pictures most of which are no more, and says nothing of those that are.
        if self._n_gone > len(self.images):
            return 0
        if self.kind is None or self.n_rows * row_bytes(self.kind.settings) > n_frames_bytes:
            return 0
        return n_bytes

    def _recall(self, what: str, content: Any, versions: dict[str, Version]) -> None:
        if what == "kind":
            self.kind = Kind.from_dict(content)
        elif what == "image":
            image = made_of(StoredImage, content, "image")
            self.n_rows = image.first_row + image.n_frames
            if versions.get(image.file) == image.version:
                self.images[image.file] = image
            else:
                self._n_gone += 1
        elif what == "skipped":
            version, error = made_of(tuple[Version, str], content, "skipped")
            if versions.get(version[0]) == version:
                self.skipped[version[0]] = error
