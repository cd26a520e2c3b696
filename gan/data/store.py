"""All frames of all images of a folder in one memory-mapped file.

Frames are rows, image after image, so that a crop in time is one contiguous read. Pixels stay as they are in the
image files; levels are worked out when a crop is read.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan.sound.codec import Codes
from gan.sound.spectrogram import SpectrogramSettings

FORMAT = 1
INDEX = "index.json"

Version = tuple[str, int, int]


@dataclass(frozen=True)
class StoredImage:
    """One line of the index.

    Attributes:
        file: Path relative to the folder of images, with forward slashes.
        size: Bytes of the file.
        mtime_ns: When it was last changed.
        sha256: Hash of its bytes.
        first_row: Where its frames start in the store.
        n_frames: Its width.
        level_db: Level of white in dB; None for silence.
        recording: Path of its recording relative to the folder of images; its own path if it was not recorded.
        start_second: Where it starts in the recording.
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

    @property
    def version(self) -> Version:
        """What tells whether the file is still the one that was read."""
        return self.file, self.size, self.mtime_ns


class ImageStore:
    """The frames of a folder of images; made by `gan.data.build.open_store`.

    Attributes:
        settings: Of every image.
        images: The index.
        skipped: What is wrong with each image that was left out, one line each.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']}")
        self.settings = SpectrogramSettings.from_dict(index["settings"])
        self.scan: str = index["scan"]
        self.skipped: list[str] = index["skipped"]
        # Columns, not rows: 130,000 images are read in half a second.
        self.images = [StoredImage(*values) for values in zip(*index["images"].values(), strict=True)]
        self._path = folder / index["frames"]
        self._n_rows, rest = divmod(self._path.stat().st_size, row_bytes(self.settings))
        if rest or any(image.first_row + image.n_frames > self._n_rows for image in self.images):
            raise ValueError("the frames are not whole")
        self._frames: Codes | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as the whole array; every process opens its own.
        return self.__dict__ | {"_frames": None}

    @property
    def fingerprint(self) -> str:
        """Hash of the settings and of every image's name and content."""
        return content_hash([self.settings.to_dict(), [(image.file, image.sha256) for image in self.images]])

    def codes(self, index: int, start: int, n_frames: int) -> Codes:
        """Pixels of a stretch of an image, shape (n_frames, n_freqs), read-only and not yet in memory."""
        if self._frames is None:
            shape = (self._n_rows, self.settings.n_freqs)
            self._frames = np.memmap(self._path, pixel_type(self.settings), "r", shape=shape)
        first = self.images[index].first_row + start
        return self._frames[first : first + n_frames]


def content_hash(content: Any) -> str:
    """Hash of anything that JSON can say."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def pixel_type(settings: SpectrogramSettings) -> type[np.uint8] | type[np.uint16]:
    """Type of a stored pixel."""
    return np.uint16 if settings.bits == 16 else np.uint8


def row_bytes(settings: SpectrogramSettings) -> int:
    """Bytes of a stored frame."""
    return settings.n_freqs * settings.bits // 8
