"""All frames of all images of a folder in one memory-mapped file.

Frames are rows, and an image's follow each other, so that a crop in time is one contiguous read. Pixels stay as they
are in the image files; levels are worked out when a crop is read.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from gan.data.index import Index, StoredImage
from gan.data.kind import Kind
from gan.files import atomic_write
from gan.plain import made_of
from gan.sound.codec import Codes
from gan.sound.settings import SpectrogramSettings

FORMAT = 2
INDEX = "index.json"


class ImageStore:
    """The frames of a folder of images; made by `gan.data.build.open_store`.

    Attributes:
        kind: What the images have in common.
        settings: Of every image.
        images: The index.
        skipped: What is wrong with each image that was left out, one line each.
        unfinished: Whether one of them may be read another time.
        odd: What is different about figures that do not look like the others, one line each, 21 at most.
        made: Hash of the options that figures were read with.
        scan: Hash of the folder and the options that the store was built from.
        frames_file: Name of the file of frames.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = made_of(dict[str, Any], json.loads((folder / INDEX).read_text(encoding="utf-8")), INDEX)
        except RecursionError as error:
            raise ValueError("lists in lists without end") from error
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']!r:.60}")
        self.kind = Kind.from_dict(index["kind"])
        self.settings = self.kind.settings
        self.scan: str = made_of(str, index["scan"], "scan")
        self.made: str = made_of(str, index["made"], "made")
        self.skipped: list[str] = made_of(list[str], index["skipped"], "skipped")
        # Stores of before there was such a thing say nothing of it.
        self.unfinished: bool = made_of(bool, index.get("unfinished", False), "unfinished")
        self.odd: list[str] = made_of(list[str], index["odd"], "odd")
        self.images: Index = made_of(Index, index["images"] | {"looks": index["looks"]}, "images")
        self.frames_file: str = made_of(str, index["frames"], "frames")
        if Path(self.frames_file).name != self.frames_file:
            raise ValueError(f"frames in {self.frames_file!r}, which is not in the folder")
        self._path = folder / self.frames_file
        self._n_rows, rest = divmod(self._path.stat().st_size, row_bytes(self.settings))
        if rest or max(map(add, self.images.first_row, self.images.n_frames)) > self._n_rows:
            raise ValueError("the frames are not whole")
        self._frames: Codes | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as the whole array; every process opens its own.
        return self.__dict__ | {"_frames": None}

    @property
    def n_bytes(self) -> int:
        """Size of the frames on disk."""
        return int(self._path.stat().st_size)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings and of every image's name and content."""
        return content_hash([self.settings.to_dict(), [*zip(self.images.file, self.images.sha256, strict=True)]])

    @property
    def frames(self) -> Codes:
        """Pixels of all images, shape (n_rows, n_freqs), read-only and not yet in memory."""
        if self._frames is None:
            shape = (self._n_rows, self.settings.n_freqs)
            self._frames = np.memmap(self._path, pixel_type(self.settings), "r", shape=shape)
        return self._frames

    def codes(self, index: int, start: int, n_frames: int) -> Codes:
        """Pixels of a stretch of an image, shape (n_frames, n_freqs), read-only and not yet in memory."""
        first = self.images.first_row[index] + start
        return self.frames[first : first + n_frames]


def write_index(
    folder: Path,
    frames: str,
    scan: str,
    made: str,
    kind: Kind,
    images: Iterable[StoredImage],
    skipped: list[str],
    unfinished: bool,
    odd: list[str],
) -> None:
    """Write what `ImageStore` reads, in one step: whatever was the index before is it until then.

    The arguments are the attributes of `ImageStore`, and the name of the file of frames in the folder.
    """
    columns = Index.of(images).to_dict()
    index = {
        "format": FORMAT,
        "scan": scan,
        "made": made,
        "kind": kind.to_dict(),
        "frames": frames,
        "skipped": skipped,
        "unfinished": unfinished,
        "odd": odd,
        "looks": columns.pop("looks"),
        "images": columns,
    }
    with atomic_write(folder / INDEX) as part:
        part.write_text(json.dumps(index), encoding="utf-8")


def content_hash(content: Any) -> str:
    """Hash of anything that JSON can say."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def pixel_type(settings: SpectrogramSettings) -> type[np.uint8] | type[np.uint16]:
    """Type of a stored pixel."""
    return np.uint16 if settings.bits == 16 else np.uint8


def row_bytes(settings: SpectrogramSettings) -> int:
    """Bytes of a stored frame."""
    return settings.n_freqs * settings.bits // 8
