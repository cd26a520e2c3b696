"""What of a store is still of use when it is refreshed."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from gan.data.index import StoredImage, Version
from gan.data.kind import Kind
from gan.data.shards import worth_copying
from gan.data.source import Decoded, Source
from gan.data.store import CONTENT, ImageStore


class Previous:
    """The store that another takes the place of.

    Args:
        store: The store.
        made: How figures are read now, as a hash.
    """

    def __init__(self, store: ImageStore, made: str) -> None:
        self._store = store
        self._read_alike = store.made == made
        # Of what was read otherwise than it is now nothing is of use.
        versions = store.images.versions if store.content == CONTENT else ()
        self._numbers = {version: number for number, version in enumerate(versions)}

    def sources(self, images: Path) -> dict[Version, Source]:
        """The store's images of `gan encode`, which need not be opened to know what they are.

        Args:
            images: Where they lie.
        """
        store, index = self._store, self._store.images
        return {
            version: Source(images / version[0], version, store.settings, index.n_frames[number], is_figure=False)
            for version, number in self._numbers.items()
            if index.look[number] is None
        }

    def has(self, source: Source, kind: Kind | None = None) -> bool:
        """Whether a file was read as it is now, and is of a kind (any if not given)."""
        is_of_kind = kind is None or self._store.settings == kind.settings
        return is_of_kind and source.version in self._numbers and (not source.is_figure or self._read_alike)

    def decoded(self, source: Source, kind: Kind | None = None) -> Decoded | None:
        """What was read of a file; None if the store does not have it."""
        return self.frames_of(self._store.images[self._numbers[source.version]]) if self.has(source, kind) else None

    def staying(self, sources: Iterable[Source], kind: Kind) -> dict[str, StoredImage]:
        """Images whose frames may stay where they are, by file.

        Args:
            sources: The files that are in question.
            kind: What images have in common now.
        """
        # What was guessed in figures, and is something else now, is looked at anew.
        stays = not self._store.kind.guesses_against(kind)
        return {
            source.file: self._store.images[self._numbers[source.version]]
            for source in sources
            if (stays or not source.is_figure) and self.has(source, kind)
        }

    def worth_copying(self, kept: Mapping[str, StoredImage], n_new: int) -> list[str]:
        """Which of the files that stay are better copied into a new shard, of so many new frames."""
        n_used = [0] * len(self._store.shards.names)
        for image in kept.values():
            n_used[image.shard] += image.n_frames
        shards = worth_copying(n_used, self._store.shards.n_rows, n_new)
        return [file for file, image in kept.items() if image.shard in shards]

    def frames_of(self, image: StoredImage) -> Decoded:
        """What was read of an image."""
        codes = self._store.shards[image.shard][image.first_row : image.first_row + image.n_frames]
        return Decoded(codes, image, self._store.kind)

    def name(self, shard: int) -> str:
        """Of a shard's file."""
        return self._store.shards.names[shard]
