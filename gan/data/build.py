"""Builds the store of a folder of images: in parallel, restartable, refreshed when files change."""

import dataclasses
import os
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from filelock import FileLock

from gan.backend import Backend, WorkerLost
from gan.data.building import FRAMES, Building
from gan.data.index import StoredImage, Version
from gan.data.kind import Kind, common_settings, kind_of_most
from gan.data.look import odd_ones
from gan.data.names import places
from gan.data.shards import remove_others, worth_copying
from gan.data.source import Decoded, Outcome, Source, find_sources, find_versions, read_as, read_source
from gan.data.store import CONTENT, ImageStore, content_hash, write_index
from gan.data.workers import memory_budget, work_through
from gan.errors import InputError, NotNow
from gan.files import remove_parts
from gan.progress import Progress, each
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings

# Everything is found in the figures, or as librosa has it.
AS_FOUND = FigureOptions()
# Figures that are looked at to see what most of them are like.
_N_PROBES = 5
# Figures that cannot be read, without one that can, after which the others are not tried: something has to be given.
_MAX_FAILURES = 50


def open_store(
    images: Path,
    folder: Path,
    n_threads: int | None = None,
    options: FigureOptions = AS_FOUND,
    backend: Backend | None = None,
    again: bool = False,
) -> ImageStore:
    """Open the store of a folder of images; build or refresh it first if files were added, changed or removed.

    A build that was stopped goes on where it was; the old store stays until the new one is whole. Files that cannot
    be read are left out and named in `store.skipped`, and so are figures whose grid is not that of most figures.

    Args:
        images: The folder of images of `gan encode`, of figures that somebody else drew, or of both.
        folder: Where the store lies or is to lie.
        n_threads: Files read at a time, if there is memory for them; one per core if not given.
        options: How to read figures.
        backend: Where else files are to be read; they must be at the same place there, the store need not.
        again: Whether what was left out for want of memory or of workers is tried once more, though no file has
            changed. Not for trainings: all their processes, and those that go on with them, need the same images.

    Raises:
        InputError: If there are no images, none can be read, the settings of images of `gan encode` differ, the
            store cannot be written or the backend cannot be used.
    """
    versions = find_versions(images, folder)
    scan = _scan(versions, options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            store = _existing(folder)
            if store is not None:
                # What a refresh left that was killed before the index named it, or names it no longer.
                remove_others(folder, [*store.shards.names, FRAMES])
            if store is None or store.scan != scan or (again and store.unfinished):
                remove_parts(folder)
                n_threads = n_threads or os.cpu_count() or 1
                _Build(images, folder, versions, options, store, n_threads, backend).run(scan)
                store = ImageStore(folder)
            return store
    except OSError as error:
        raise InputError(
            f"{folder}: the store of the images cannot be written ({error.strerror}); what is complete is kept: make "
            "room and run again, or name another folder with --data.store"
        ) from error


def existing_store(images: Path, folder: Path, options: FigureOptions = AS_FOUND) -> ImageStore | None:
    """What `open_store` gives if it has nothing to build or refresh; None if it has.

    Raises:
        InputError: If there are no images.
    """
    return _fitting(folder, _scan(find_versions(images, folder), options))


def find_settings(images: Path, folder: Path, options: FigureOptions = AS_FOUND) -> SpectrogramSettings:
    """Settings of a folder of images before its store is built: of one that can be read.

    Where the store is there already and fits, they are the store's, and no image is read.

    Args:
        images: The folder of images.
        folder: Where the store lies or is to lie.
        options: How to read figures.

    Raises:
        InputError: If there are no images or none can be read.
    """
    versions = find_versions(images, folder)
    if (store := _fitting(folder, _scan(versions, options))) is not None:
        return store.settings
    skipped = {}
    sources = find_sources(images, versions, os.cpu_count() or 1)
    leading = _encoded_lead(sources)
    for source in sorted(_spread(sources), key=lambda source: source.is_figure == leading):
        if source.settings is not None:
            return source.settings
        outcome = read_source(source, options)
        if isinstance(outcome, Decoded):
            return outcome.kind.settings
        skipped[source.file] = str(outcome)
    raise _none_usable(images, skipped)


def _scan(versions: list[Version], options: FigureOptions) -> str:
    return content_hash([CONTENT, versions, dataclasses.asdict(options)])


def _existing(folder: Path) -> ImageStore | None:
    try:
        return ImageStore(folder)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _fitting(folder: Path, scan: str) -> ImageStore | None:
    store = _existing(folder)
    return store if store is not None and store.scan == scan else None


def _encoded_lead(sources: list[Source]) -> bool:
    """Whether images of `gan encode` say what the store's settings are: if there are at least as many as figures."""
    return 2 * sum(not source.is_figure for source in sources) >= len(sources)


def _spread(sources: list[Source]) -> list[Source]:
    """In an order that is spread over the folder, and always the same: the first window of a recording is quiet."""
    return [sources[index] for index in np.random.default_rng(0).permutation(len(sources))]


def _none_usable(images: Path, skipped: Mapping[str, str]) -> InputError:
    reason = next(iter(skipped.values()), "they cannot be opened")
    return InputError(f"{images}: none of its {len(skipped)} images can be used; {reason}")


def _read_if_seen(read: Callable[[Source], Outcome], source: Source) -> Outcome | str:
    """Read a file on a worker; its machine's name if the file is not to be seen there."""
    return read(source) if source.path.exists() else socket.gethostname()


class _Build:
    """One building of a store; the arguments are those of `open_store`, and the store that is replaced."""

    def __init__(
        self,
        images: Path,
        folder: Path,
        versions: list[Version],
        options: FigureOptions,
        old: ImageStore | None,
        n_threads: int,
        backend: Backend | None,
    ) -> None:
        # Workers have working folders of their own.
        self._images = images if backend is None else images.absolute()
        self._folder = folder
        self._versions = versions
        self._options = options
        self._made = content_hash([CONTENT, dataclasses.asdict(options)])
        self._n_threads = n_threads
        self._backend = backend
        self._budget = memory_budget()
        self._old = old
        self._old_index = {} if old is None else {version: number for number, version in enumerate(old.images.versions)}

    def run(self, scan: str) -> None:
        """Build and put it in the place of the old one."""
        sources = find_sources(self._images, self._versions, self._n_threads, self._known())
        found = {source.file: source.settings for source in sources if source.settings is not None}
        encoded = Kind(common_settings(found)) if found else None
        with Building(self._folder, self._made, self._versions) as building:
            first: dict[str, Outcome] = {}
            if building.kind is not None and not self._still(building.kind, sources, encoded):
                building.restart()
            if building.kind is None:
                kind, first = self._agree(sources, encoded)
                building.start(kind)
            kept = self._kept(sources, building)
            self._read_all(sources, kept, first, building)
            if not building.images and not kept:
                skipped = building.skipped
                # Not noted down: whoever mends what is wrong with all files need not touch each of them.
                building.restart()
                raise _none_usable(self._images, skipped)
            self._copy(kept, building)
            self._finish(building, kept, scan)

    def _known(self) -> dict[Version, Source]:
        """Images of `gan encode` that have not changed since the old store was built: they need not be opened."""
        known: dict[Version, Source] = {}
        if (old := self._old) is None:
            return known
        for version in self._versions:
            number = self._old_index.get(version)
            if number is not None and old.images.look[number] is None:
                n_frames = old.images.n_frames[number]
                known[version] = Source(self._images / version[0], version, old.settings, n_frames, is_figure=False)
        return known

    def _kept(self, sources: list[Source], building: Building) -> dict[str, StoredImage]:
        """Images whose frames may stay where they are, by file."""
        old, kind = self._old, building.kind
        assert kind is not None
        if old is None:
            return {}
        # What was guessed in figures, and is something else now, is looked at anew.
        stays = not old.kind.guesses_against(kind)
        done = building.images.keys() | building.skipped.keys()
        return {
            source.file: old.images[self._old_index[source.version]]
            for source in sources
            if source.file not in done and (stays or not source.is_figure) and self._is_stored(source, kind)
        }

    def _still(self, kind: Kind, sources: list[Source], encoded: Kind | None) -> bool:
        """Whether what a stopped build was made for is what these files are."""
        return kind == encoded if _encoded_lead(sources) else kind.options is not None

    def _agree(self, sources: list[Source], encoded: Kind | None) -> tuple[Kind, dict[str, Outcome]]:
        """What the images have in common, and what became of those that were read to find it out."""
        outcomes: dict[str, Outcome] = {}
        if encoded is not None and _encoded_lead(sources):
            return encoded, outcomes
        left = _spread([source for source in sources if source.is_figure])
        kinds: list[Kind] = []
        while left and len(kinds) < _N_PROBES and (kinds or len(outcomes) < _MAX_FAILURES):
            chosen, left = left[: _N_PROBES - len(kinds)], left[_N_PROBES - len(kinds) :]
            outcomes |= {source.file: found for source in chosen if (found := self._stored(source)) is not None}
            new = [source for source in chosen if source.file not in outcomes]
            with closing(self._work(new, partial(read_source, options=self._options))) as results:
                outcomes |= {source.file: outcome for source, outcome in results}
            # In the order of the files, not in that of completion.
            read = [outcomes[source.file] for source in chosen]
            kinds += [outcome.kind for outcome in read if isinstance(outcome, Decoded)]
        if kinds:
            return kind_of_most(kinds), outcomes
        if encoded is not None:
            return encoded, outcomes
        if left:
            raise InputError(
                f"{self._images}: of {len(outcomes) + len(left)} figures {len(outcomes)} were tried, and none can be "
                f"read; {outcomes[min(outcomes)]}"
            )
        problems = {source.file: str(outcomes.get(source.file, source.problem)) for source in sources}
        raise _none_usable(self._images, problems)

    def _read_all(
        self, sources: list[Source], kept: Mapping[str, StoredImage], first: dict[str, Outcome], building: Building
    ) -> None:
        done = building.images.keys() | building.skipped.keys() | kept.keys()
        jobs = [source for source in sources if source.file not in done]
        # Those that were read already go first, so that they do not lie in memory.
        jobs.sort(key=lambda source: source.file not in first)
        kind = building.kind
        assert kind is not None

        # What was read to find the kind, or stands in the old store, takes no time.
        known = {source.file for source in jobs if source.file in first or self._is_stored(source, kind)}

        def look_up(source: Source) -> Outcome:
            return read_as(source, kind, self._options, first.pop(source.file, None) or self._stored(source, kind))

        read = partial(read_as, kind=kind, options=self._options)
        sizes = {source.file: source.version[1] for source in sources}
        with (
            Progress("store", "image", len(sources), sum(sizes.values())) as progress,
            closing(self._work_here([source for source in jobs if source.file in known], look_up)) as looked_up,
            closing(self._work([source for source in jobs if source.file not in known], read)) as results,
        ):
            progress.advance(sum(sizes[file] for file in done & sizes.keys()), len(sources) - len(jobs), there=True)
            for source, outcome in chain(looked_up, results):
                if isinstance(outcome, Decoded):
                    building.add(outcome)
                else:
                    building.skip(source.version, outcome)
                progress.advance(sizes[source.file], there=source.file in known)

    def _work(
        self, sources: list[Source], read: Callable[[Source], Outcome]
    ) -> Generator[tuple[Source, Outcome], None, None]:
        """Read files, where that is to be done; elsewhere, `read` is pickled."""
        if self._backend is None:
            return self._work_here(sources, read)
        return self._work_elsewhere(sources, read, self._backend)

    def _work_here(
        self, sources: list[Source], read: Callable[[Source], Outcome]
    ) -> Generator[tuple[Source, Outcome], None, None]:
        return work_through(sources, read, self._peak_bytes, self._n_threads, self._budget)

    def _work_elsewhere(
        self, sources: list[Source], read: Callable[[Source], Outcome], backend: Backend
    ) -> Generator[tuple[Source, Outcome], None, None]:
        if backend.name == "loky" and sources:
            # The memory is this machine's: the largest file must fit as often as files are read at a time.
            n_fitting = self._budget // max(1, *map(self._peak_bytes, sources))
            backend = dataclasses.replace(backend, n_jobs=max(1, min(self._n_threads, n_fitting)))
        with closing(backend.work_through(sources, partial(_read_if_seen, read))) as results:
            for source, outcome in results:
                if isinstance(outcome, str) and source.path.exists():
                    raise InputError(
                        f"{source.path}: not to be seen on {outcome}; pictures must be in a folder that all machines "
                        "share, at the same path"
                    )
                if isinstance(outcome, str):
                    yield source, InputError(f"{source.path}: cannot be opened (removed a moment ago)")
                elif isinstance(outcome, WorkerLost):
                    yield source, NotNow(f"{source.path}: {outcome}; `gan ingest` tries it again")
                else:
                    yield source, outcome

    def _peak_bytes(self, source: Source) -> int:
        try:
            return source.peak_bytes()
        except (InputError, OSError):
            return 0

    def _is_stored(self, source: Source, kind: Kind | None = None) -> bool:
        """Whether a file has not changed since the old store was built, and is of a kind (any if not given)."""
        old = self._old
        if old is None or source.version not in self._old_index or (kind is not None and old.settings != kind.settings):
            return False
        return not source.is_figure or old.made == self._made

    def _stored(self, source: Source, kind: Kind | None = None) -> Decoded | None:
        """What the old store has of a file; None if that is of no use."""
        old = self._old
        if old is None or not self._is_stored(source, kind):
            return None
        number = self._old_index[source.version]
        return Decoded(old.codes(number, 0, old.images[number].n_frames), old.images[number], old.kind)

    def _copy(self, kept: dict[str, StoredImage], building: Building) -> None:
        """Copy the frames of shards that are not to stay into the new one."""
        old = self._old
        if old is None:
            return
        n_used = [0] * len(old.shards.names)
        for image in kept.values():
            n_used[image.shard] += image.n_frames
        chosen = worth_copying(n_used, old.shards.n_rows, building.n_rows)
        for file in each([file for file, image in kept.items() if image.shard in chosen], "copy", "image"):
            image = kept.pop(file)
            codes = old.shards[image.shard][image.first_row : image.first_row + image.n_frames]
            building.add(Decoded(codes, image, old.kind))

    def _finish(self, building: Building, kept: Mapping[str, StoredImage], scan: str) -> None:
        kind = building.kind
        assert kind is not None
        names = [] if self._old is None else self._old.shards.names
        numbers = {shard: number for number, shard in enumerate(sorted({image.shard for image in kept.values()}))}
        shards = [names[shard] for shard in numbers]
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
        write_index(self._folder, shards, scan, self._made, kind, images, skipped, building.unfinished, odd)
        remove_others(self._folder, shards)
        building.remove_journal()
