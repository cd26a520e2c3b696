"""The building of a store, or its refreshing when files have changed."""

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from gan.backend import Backend
from gan.data.agreement import agree, none_usable, still_agreed
from gan.data.building import Building
from gan.data.index import StoredImage
from gan.data.kind import Kind, common_settings
from gan.data.look import odd_ones
from gan.data.names import places
from gan.data.previous import Previous
from gan.data.readers import Readers
from gan.data.shards import remove_others
from gan.data.source import Decoded, Outcome, Source, read_as, read_source
from gan.data.store import CONTENT, ImageStore, content_hash, write_index
from gan.progress import Progress, each
from gan.sound.figure.options import FigureOptions


class Build:
    """One building of a store, which goes on where a stopped one was; see `gan.data.opening.open_store`.

    Args:
        images: The folder of images.
        folder: Where the store is to lie; nobody else may build there meanwhile.
        sources: Its files.
        options: How to read figures.
        old: The store that is replaced, if there is one.
        n_threads: Files read at a time, if there is memory for them.
        backend: Where else files are to be read.
    """

    def __init__(
        self,
        images: Path,
        folder: Path,
        sources: list[Source],
        options: FigureOptions,
        old: ImageStore | None,
        n_threads: int,
        backend: Backend | None,
    ) -> None:
        self._images = images
        self._folder = folder
        self._sources = sources
        self._versions = [source.version for source in sources]
        self._options = options
        self._made = made_with(options)
        self._readers = Readers(n_threads, backend)
        self._previous = None if old is None else Previous(old, self._made)

    def run(self, scan: str) -> None:
        """Build the store and put it in the place of the old one.

        Args:
            scan: Hash of the folder and the options, by which the store is known to fit.

        Raises:
            InputError: If no image can be read, the settings of images of `gan encode` differ or the backend cannot
                be used.
            OSError: If the store cannot be written.
        """
        previous, sources = self._previous, self._sources
        found = {source.file: source.settings for source in sources if source.settings is not None}
        encoded = Kind(common_settings(found)) if found else None
        with Building(self._folder, self._made, self._versions) as building:
            first: dict[str, Outcome] = {}
            if building.kind is not None and not still_agreed(building.kind, sources, encoded):
                building.restart()
            if building.kind is None:
                kind, first = agree(self._images, sources, encoded, self._read_some)
                building.start(kind)
            else:
                kind = building.kind
            done = building.images.keys() | building.skipped.keys()
            left = [source for source in sources if source.file not in done]
            kept = {} if previous is None else previous.staying(left, kind)
            self._read_all(sources, kept, first, building, kind)
            if not building.images and not kept:
                skipped = building.skipped
                # Not noted down: whoever mends what is wrong with all files need not touch each of them.
                building.restart()
                raise none_usable(self._images, skipped)
            if previous is not None:
                for file in each(previous.worth_copying(kept, building.n_rows), "copy", "image"):
                    building.add(previous.frames_of(kept.pop(file)))
            self._finish(building, kept, scan, kind)

    def _read_some(self, sources: list[Source]) -> dict[str, Outcome]:
        """Read figures as if nothing was known of the others."""
        outcomes: dict[str, Outcome] = {}
        if self._previous is not None:
            outcomes |= {source.file: found for source in sources if (found := self._previous.decoded(source))}
        new = [source for source in sources if source.file not in outcomes]
        with closing(self._readers.read(new, partial(read_source, options=self._options))) as results:
            return outcomes | {source.file: outcome for source, outcome in results}

    def _read_all(
        self,
        sources: list[Source],
        kept: Mapping[str, StoredImage],
        first: dict[str, Outcome],
        building: Building,
        kind: Kind,
    ) -> None:
        done = building.images.keys() | building.skipped.keys() | kept.keys()
        jobs = [source for source in sources if source.file not in done]
        # Those that were read already go first, so that they do not lie in memory.
        jobs.sort(key=lambda source: source.file not in first)
        previous = self._previous
        # What was read to find the kind, or stands in the old store, takes no time.
        known = {
            source.file
            for source in jobs
            if source.file in first or (previous is not None and previous.has(source, kind))
        }

        def look_up(source: Source) -> Outcome:
            found = first.pop(source.file, None)
            if found is None and previous is not None:
                found = previous.decoded(source, kind)
            return read_as(source, kind, self._options, found)

        read = partial(read_as, kind=kind, options=self._options)
        sizes = {source.file: source.version[1] for source in sources}
        with (
            Progress("store", "image", len(sources), sum(sizes.values())) as progress,
            closing(self._readers.read_here([source for source in jobs if source.file in known], look_up)) as looked_up,
            closing(self._readers.read([source for source in jobs if source.file not in known], read)) as results,
        ):
            progress.advance(sum(sizes[file] for file in done & sizes.keys()), len(sources) - len(jobs), there=True)
            for source, outcome in chain(looked_up, results):
                if isinstance(outcome, Decoded):
                    building.add(outcome)
                else:
                    building.skip(source.version, outcome)
                progress.advance(sizes[source.file], there=source.file in known)

    def _finish(self, building: Building, kept: Mapping[str, StoredImage], scan: str, kind: Kind) -> None:
        numbers = {shard: number for number, shard in enumerate(sorted({image.shard for image in kept.values()}))}
        shards = [] if self._previous is None else [self._previous.name(shard) for shard in numbers]
        images = [
            dataclasses.replace(kept[file], shard=numbers[kept[file].shard])
            if file in kept
            else dataclasses.replace(building.images[file], shard=len(shards))
            for file, _, _ in self._versions
            if file in kept or file in building.images
        ]
        # Where a figure's sound was follows from the names of all figures.
        found = places({image.file: image.n_frames for image in images if image.look is not None}, kind.settings)
        images = [
            dataclasses.replace(image, **found[image.file]._asdict()) if image.file in found else image
            for image in images
        ]
        odd = odd_ones({image.file: image.look for image in images if image.look is not None})
        skipped = [building.skipped[file] for file in sorted(building.skipped)]
        # The index is replaced in one step and names whole shards only, and a training that reads the old ones is not
        # disturbed.
        new = building.finish()
        shards += [] if new is None else [new]
        unfinished, place = building.unfinished, building.place
        write_index(self._folder, shards, scan, self._made, kind, images, skipped, unfinished, odd, place)
        remove_others(self._folder, shards)
        building.remove_journal()


def made_with(options: FigureOptions) -> str:
    """Hash of the options that figures are read with."""
    return content_hash([CONTENT, dataclasses.asdict(options)])
