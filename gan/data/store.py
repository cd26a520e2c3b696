"""All frames of all images of a folder, mapped into memory.

Frames are rows, and an image's follow each other, so that a crop in time is one contiguous read. Pixels stay as they
are in the image files; levels are worked out when a crop is read.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from gan.data.index import Index, StoredImage
from gan.data.kind import Kind
from gan.data.shards import Shards
from gan.files import atomic_write, sync_to_disk
from gan.plain import made_of
from gan.sound.codec import Codes

# Of the index.
FORMAT = 3
# Of what is read of a file: a store that was built with another has to be built anew.
CONTENT = 2
INDEX = "index.json"


class ImageStore:
    """The frames of a folder of images; made by `gan.data.opening.open_store`.

    Attributes:
        kind: What the images have in common.
        settings: Of every image.
        images: The index.
        skipped: What is wrong with each image that was left out, one line each.
        unfinished: Whether one of them may be read another time.
        odd: What is different about figures that do not look like the others, one line each, 21 at most.
        content: `CONTENT` of when it was built.
        made: Hash of the options that figures were read with.
        scan: Hash of the folder and the options that the store was built from.
        shards: The files of its frames.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = made_of(dict[str, Any], json.loads((folder / INDEX).read_text(encoding="utf-8")), INDEX)
        except RecursionError as error:
            raise ValueError("lists in lists without end") from error
        if index["format"] == 2:
            index = _of_one_file(index)
        elif index["format"] != FORMAT:
            raise ValueError(f"format {index['format']!r:.60}")
        self.kind = Kind.from_dict(index["kind"])
        self.settings = self.kind.settings
        # Stores of before it was written down are of this one.
        self.content: int = made_of(int, index.get("content", 2), "content")
        self.scan: str = made_of(str, index["scan"], "scan")
        self.made: str = made_of(str, index["made"], "made")
        self.skipped: list[str] = made_of(list[str], index["skipped"], "skipped")
        # Stores of before there was such a thing say nothing of it.
        self.unfinished: bool = made_of(bool, index.get("unfinished", False), "unfinished")
        self.odd: list[str] = made_of(list[str], index["odd"], "odd")
        self.images: Index = made_of(Index, index["images"], "images")
        self.shards = Shards(folder, made_of(list[str], index["shards"], "shards"), self.settings)
        places = zip(self.images.shard, self.images.first_row, self.images.n_frames, strict=True)
        if any(row + n_frames > self.shards.n_rows[shard] for shard, row, n_frames in places):
            raise ValueError("the frames are not whole")

    @property
    def n_bytes(self) -> int:
        """Size of the frames on disk."""
        return self.shards.n_bytes

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings and of every image's name and content."""
        return content_hash([self.settings.to_dict(), [*zip(self.images.file, self.images.sha256, strict=True)]])

    def codes(self, index: int, start: int, n_frames: int) -> Codes:
        """Pixels of a stretch of an image, shape (n_frames, n_freqs), read-only and not yet in memory."""
        first = self.images.first_row[index] + start
        return self.shards[self.images.shard[index]][first : first + n_frames]


def _of_one_file(index: dict[str, Any]) -> dict[str, Any]:
    """What an index of format 2, which knows one file of frames, says in the words of today."""
    columns = index["images"] | {"looks": index["looks"], "shard": [0] * len(index["images"]["file"])}
    return index | {"images": columns, "shards": [index["frames"]]}


def write_index(
    folder: Path,
    shards: list[str],
    scan: str,
    made: str,
    kind: Kind,
    images: Iterable[StoredImage],
    skipped: list[str],
    unfinished: bool,
    odd: list[str],
    place: Callable[[], None],
) -> None:
    """Write what `ImageStore` reads, in one step: whatever was the index before is it until then.

    The arguments are the attributes of `ImageStore`, the names of its shards in the folder, and what puts the newest
    shard there: it is called when nothing is left to do but to rename the index, so that hardly anything can go wrong
    between the two.
    """
    index = {
        "format": FORMAT,
        "content": CONTENT,
        "scan": scan,
        "made": made,
        "kind": kind.to_dict(),
        "shards": shards,
        "skipped": skipped,
        "unfinished": unfinished,
        "odd": odd,
        "images": Index.of(images).to_dict(),
    }
    with atomic_write(folder / INDEX) as part:
        part.write_text(json.dumps(index), encoding="utf-8")
        sync_to_disk(part)
        place()


def content_hash(content: Any) -> str:
    """Hash of anything that JSON can say."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
