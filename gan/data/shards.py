"""The files of frames of a store. What is in one never changes, so that a store can grow without being copied."""

import errno
import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np

from gan.errors import InputError
from gan.sound.codec import Codes
from gan.sound.settings import SpectrogramSettings

_SUFFIX = ".frames"
# Names of `new_name`, of stores of before there were shards, and of a build: the folder may have files of others.
_OWN = re.compile(r"([0-9a-f]{32}|[0-9a-f]{16}(_again)?|building)\.frames")
# Of a shard's rows, how many may be of images that are gone or have changed.
_MAX_UNUSED = 1 / 3


class Shards:
    """The files of frames of a store, mapped into memory: whoever has them keeps them, be they removed.

    Args:
        folder: Where they lie.
        names: Their names there.
        settings: Of what is in them.

    Attributes:
        names: Their names.
        n_rows: Frames in each.

    Raises:
        MemoryError: If the process may not have so many addresses.
        OSError: If one is missing.
        ValueError: If one lies elsewhere, or is damaged.
    """

    def __init__(self, folder: Path, names: list[str], settings: SpectrogramSettings) -> None:
        if len(set(names)) < len(names) or any(Path(name).name != name for name in names):
            raise ValueError(f"frames in {names!r:.200}, which is not in the folder, or twice there")
        self.names = names
        self._paths = [folder / name for name in names]
        self._settings = settings
        self.n_rows = [self._count(path) for path in self._paths]
        self._maps: list[Codes] | None = self._mapped()

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as the whole array; every process opens its own.
        return self.__dict__ | {"_maps": None}

    def __getitem__(self, number: int) -> Codes:
        """Pixels of one of them, shape (n_rows, n_freqs), read-only and not yet in memory."""
        if self._maps is None:
            try:
                self._maps = self._mapped()
            except FileNotFoundError as error:
                raise InputError(
                    f"{error.filename}: the store has been refreshed since it was opened, and its old frames are "
                    "removed; run again, with data.num_workers 0 if images are added meanwhile"
                ) from error
        return self._maps[number]

    @property
    def n_bytes(self) -> int:
        """Size of all of them on disk."""
        return sum(self.n_rows) * row_bytes(self._settings)

    def _count(self, path: Path) -> int:
        status = path.stat()
        n_rows, rest = divmod(status.st_size, row_bytes(self._settings))
        if rest or not n_rows or not S_ISREG(status.st_mode):
            raise ValueError(f"the frames in {path.name} are not whole")
        return n_rows

    def _mapped(self) -> list[Codes]:
        kind, n_freqs = pixel_type(self._settings), self._settings.n_freqs
        try:
            return [
                np.memmap(path, kind, "r", shape=(n_rows, n_freqs))
                for path, n_rows in zip(self._paths, self.n_rows, strict=True)
            ]
        except OSError as error:
            if error.errno == errno.ENOMEM:
                # Nothing is wrong with the files, and nobody is to build them anew.
                raise MemoryError(f"{self.n_bytes / 1e9:.3g} GB of addresses (see ulimit -v)") from error
            raise


def new_name() -> str:
    """The name of a shard that nobody has heard of, so that none is ever taken for another."""
    return f"{uuid.uuid4().hex}{_SUFFIX}"


def has_frames(folder: Path) -> bool:
    """Whether a folder has files of frames of a store."""
    return any(_OWN.fullmatch(path.name) for path in folder.glob(f"*{_SUFFIX}"))


def remove_others(folder: Path, names: Iterable[str]) -> None:
    """Remove all files of frames of a store but these."""
    kept = set(names)
    for path in folder.glob(f"*{_SUFFIX}"):
        if path.name not in kept and _OWN.fullmatch(path.name):
            path.unlink()


def worth_copying(n_used: Sequence[int], n_rows: Sequence[int], n_new: int) -> set[int]:
    """Which shards are to be copied into a new one, as a store grows or shrinks.

    Those of which more than a third is not used any more; and the smaller ones, wherever one has no more in use than
    what is written and what is smaller have together. So every shard has more than all that are smaller, a million
    images lie in 20 of them at most, and however a store has grown, each frame was copied 20 times at most.

    Args:
        n_used: Frames of each shard that are in use.
        n_rows: Frames of each shard.
        n_new: Frames that are written anyway.
    """
    in_use = [shard for shard, used in enumerate(n_used) if used]
    copied = {shard for shard in in_use if n_rows[shard] - n_used[shard] > _MAX_UNUSED * n_rows[shard]}
    written = n_new + sum(n_used[shard] for shard in copied)
    waiting: list[int] = []
    for shard in sorted(in_use, key=lambda shard: n_used[shard]):
        if shard in copied:
            continue
        waiting.append(shard)
        if n_used[shard] <= written:
            copied.update(waiting)
        written += n_used[shard]
    return copied


def pixel_type(settings: SpectrogramSettings) -> type[np.uint8] | type[np.uint16]:
    """Type of a stored pixel."""
    return np.uint16 if settings.bits == 16 else np.uint8


def row_bytes(settings: SpectrogramSettings) -> int:
    """Bytes of a stored frame."""
    return settings.n_freqs * settings.bits // 8
