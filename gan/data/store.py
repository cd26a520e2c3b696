"""All frames of all images of a folder in one memory-mapped file.

Frames are rows, and an image's follow each other, so that a crop in time is one contiguous read. Pixels stay as they
are in the image files; levels are worked out when a crop is read.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from gan.data.kind import Kind
from gan.data.look import Look
from gan.files import atomic_write
from gan.plain import made_of
from gan.sound.codec import Codes
from gan.sound.settings import SpectrogramSettings

FORMAT = 2
INDEX = "index.json"

Version = tuple[str, int, int]


@dataclass(frozen=True)
class StoredImage:
    """One line of the index.

    Attributes:
        file: Path relative to the folder of images, with forward slashes.
        size: Bytes of the file.
        mtime_ns: When it was last changed.
        sha256: Hash of its bytes; of what was read from it, if it is a figure.
        first_row: Where its frames start in the store.
        n_frames: Its width.
        level_db: Level of white in dB; None for silence.
        recording: Path of its recording relative to the folder of images; its own path if it was not recorded.
        start_second: Where it starts in the recording.
        look: What a figure looks like; None for an image of `gan encode`.
    """

    file: str
    size: int
    mtime_ns: int
    sha256: str
    first_row: int
    n_frames: int
    level_db: float | None
    recording: str
    start_second: float
    look: Look | None = None

    def __post_init__(self) -> None:
        if self.first_row < 0 or self.n_frames < 1:
            raise ValueError(f"{self.file}: {self.n_frames} frames from row {self.first_row}")

    @property
    def version(self) -> Version:
        """What tells whether the file is still the one that was read."""
        return self.file, self.size, self.mtime_ns


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
        text = (folder / INDEX).read_text(encoding="utf-8")
        try:
            index = made_of(dict[str, Any], json.loads(text), INDEX)
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
        # Columns, not rows, and each look once: 130,000 images are read in half a second.
        columns = {
            name: made_of(list[kind], index["images"][name], name)  # type: ignore[valid-type]
            for name, kind in get_type_hints(StoredImage).items()
            if name != "look"
        }
        looks = made_of(list[Look], index["looks"], "looks")
        numbers = made_of(list[int | None], index["images"]["look"], "look")
        columns["look"] = [None if number is None else looks[number] for number in numbers]
        self.images = [StoredImage(*values) for values in zip(*columns.values(), strict=True)]
        self.frames_file: str = made_of(str, index["frames"], "frames")
        if Path(self.frames_file).name != self.frames_file:
            raise ValueError(f"frames in {self.frames_file!r}, which is not in the folder")
        self._path = folder / self.frames_file
        self._n_rows, rest = divmod(self._path.stat().st_size, row_bytes(self.settings))
        if rest or any(image.first_row + image.n_frames > self._n_rows for image in self.images):
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
        return content_hash([self.settings.to_dict(), [(image.file, image.sha256) for image in self.images]])

    @property
    def frames(self) -> Codes:
        """Pixels of all images, shape (n_rows, n_freqs), read-only and not yet in memory."""
        if self._frames is None:
            shape = (self._n_rows, self.settings.n_freqs)
            self._frames = np.memmap(self._path, pixel_type(self.settings), "r", shape=shape)
        return self._frames

    def codes(self, index: int, start: int, n_frames: int) -> Codes:
        """Pixels of a stretch of an image, shape (n_frames, n_freqs), read-only and not yet in memory."""
        first = self.images[index].first_row + start
        return self.frames[first : first + n_frames]


def write_index(
    folder: Path,
    frames: str,
    scan: str,
    made: str,
    kind: Kind,
    images: Sequence[StoredImage],
    skipped: list[str],
    unfinished: bool,
    odd: list[str],
) -> None:
    """Write what `ImageStore` reads, in one step: whatever was the index before is it until then.

    The arguments are the attributes of `ImageStore`, and the name of the file of frames in the folder.
    """
    looks = {image.look: None for image in images if image.look is not None}
    numbers = {look: number for number, look in enumerate(looks)}
    columns: dict[str, list[Any]] = {
        field.name: [getattr(image, field.name) for image in images] for field in dataclasses.fields(StoredImage)
    }
    columns["look"] = [None if look is None else numbers[look] for look in columns["look"]]
    index = {
        "format": FORMAT,
        "scan": scan,
        "made": made,
        "kind": kind.to_dict(),
        "frames": frames,
        "skipped": skipped,
        "unfinished": unfinished,
        "odd": odd,
        "looks": list(looks),
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
