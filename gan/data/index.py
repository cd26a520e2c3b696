"""What a store knows of each of its images."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from gan.data.look import Look
from gan.walk import FileStamp

# What tells whether a file has changed.
Version = FileStamp


@dataclass(frozen=True)
class StoredImage:
    """One line of the index.

    Attributes:
        file: Path relative to the folder of images, with forward slashes.
        size: Bytes of the file.
        mtime_ns: When it was last changed.
        sha256: Hash of its bytes; of what was read from it, if it is a figure.
        first_row: Where its frames start in their shard.
        n_frames: Its width.
        level_db: Level of white in dB; None for silence.
        recording: Path of its recording relative to the folder of images; its own path if it was not recorded.
        start_second: Where it starts in the recording.
        look: What a figure looks like; None for an image of `gan encode`.
        shard: Which of the store's files of frames has them.
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
    shard: int = 0

    def __post_init__(self) -> None:
        if self.first_row < 0 or self.n_frames < 1:
            raise ValueError(f"{self.file}: {self.n_frames} frames from row {self.first_row}")

    @property
    def version(self) -> Version:
        """What tells whether the file is still the one that was read."""
        return self.file, self.size, self.mtime_ns


_COLUMNS = tuple(field.name for field in dataclasses.fields(StoredImage))


@dataclass(frozen=True)
class Index:
    """Lines of an index, as columns of one length: a `StoredImage` is made when it is asked for.

    Half a second is saved so where there are 130,000. The columns are called as the attributes of `StoredImage` are.

    Attributes:
        look: Which of the looks a figure has; None for an image of `gan encode`.
        looks: All looks, each once.
    """

    file: list[str]
    size: list[int]
    mtime_ns: list[int]
    sha256: list[str]
    first_row: list[int]
    n_frames: list[int]
    level_db: list[float | None]
    recording: list[str]
    start_second: list[float]
    look: list[int | None]
    shard: list[int]
    looks: list[Look]

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in _COLUMNS}
        if len(lengths) > 1 or not self.file:
            raise ValueError(f"columns of {min(lengths)} to {max(lengths)} images")
        if min(self.shard) < 0 or min(self.first_row) < 0 or min(self.n_frames) < 1:
            raise ValueError("frames before the first of all, or none")
        if not set(self.look) <= {None, *range(len(self.looks))}:
            raise ValueError("figures of an unknown look")

    @classmethod
    def of(cls, images: Iterable[StoredImage]) -> Self:
        """The index of these images."""
        rows = list(images)
        looks = list({image.look: None for image in rows if image.look is not None})
        numbers = {look: number for number, look in enumerate(looks)}
        columns: dict[str, list[Any]] = {name: [getattr(image, name) for image in rows] for name in _COLUMNS}
        columns["look"] = [None if look is None else numbers[look] for look in columns["look"]]
        return cls(**columns, looks=looks)

    def to_dict(self) -> dict[str, Any]:
        """The columns and the looks, for JSON."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def versions(self) -> Iterator[Version]:
        """What tells of each image whether its file is still the one that was read."""
        return zip(self.file, self.size, self.mtime_ns, strict=True)

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, number: int) -> StoredImage:
        line = {name: getattr(self, name)[number] for name in _COLUMNS}
        if line["look"] is not None:
            line["look"] = self.looks[line["look"]]
        return StoredImage(**line)

    def __iter__(self) -> Iterator[StoredImage]:
        return map(self.__getitem__, range(len(self)))
