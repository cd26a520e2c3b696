"""Opens the store of a folder of images, which is built or refreshed first where that is needed."""

import dataclasses
import json
import os
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from gan.backend import Backend
from gan.data.agreement import settings_of_one
from gan.data.build import Build, made_with
from gan.data.building import FRAMES, JOURNAL
from gan.data.index import Version
from gan.data.listing import find_versions
from gan.data.previous import Previous
from gan.data.shards import has_frames, remove_others
from gan.data.source import Source, find_sources
from gan.data.store import CONTENT, INDEX, ImageStore, content_hash
from gan.errors import InputError
from gan.files import remove_parts_of
from gan.outputs import Mark, Outputs, starts_with
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings

# Everything is found in the figures, or as librosa has it.
AS_FOUND = FigureOptions()

_LOCK = "lock"


class Opening:
    """The opening of a store: what is looked up for one answer serves the next.

    Where there are a hundred thousand files, to list them takes half a second, and to tell images of `gan encode` from
    figures twenty.

    Args:
        images, folder, options, n_threads, backend, overwrite: As of `open_store`.

    Raises:
        InputError: If there are no images.
    """

    def __init__(
        self,
        images: Path,
        folder: Path,
        options: FigureOptions = AS_FOUND,
        n_threads: int | None = None,
        backend: Backend | None = None,
        overwrite: bool = False,
    ) -> None:
        self._versions = find_versions(images, folder)
        # Workers have working folders of their own.
        self._images = images if backend is None else images.absolute()
        self._folder = folder
        self._options = options
        self._n_threads = n_threads or os.cpu_count() or 1
        self._backend = backend
        self._overwrite = overwrite
        self._looked_into: list[Source] | None = None

    def existing(self) -> ImageStore | None:
        """What `store` gives if it has nothing to build or refresh; None if it has."""
        return self._fitting(self._found)

    def settings(self) -> SpectrogramSettings:
        """Settings of the images before their store is built: of one that can be read.

        Where the store is there already and fits, they are the store's, and no image is read.

        Raises:
            InputError: If none can be read.
        """
        store = self.existing()
        if store is not None:
            return store.settings
        return settings_of_one(self._images, self._sources(self._found), self._options)

    def store(self, again: bool = False) -> ImageStore:
        """Open the store; see `open_store`."""
        folder = self._folder
        self._check_outputs()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / _LOCK):
                store = _existing(folder)
                if store is not None or not (folder / INDEX).exists():
                    # What a kill left that no index names yet, or any more. A damaged index may be one of a newer
                    # version: its frames are kept until there are others.
                    remove_others(folder, [*([] if store is None else store.shards.names), FRAMES])
                fitting = self._fitting(store)
                if fitting is None and self._list_again():
                    fitting = self._fitting(store)
                if fitting is None or (again and fitting.unfinished):
                    remove_parts_of(folder / INDEX)
                    self._build(store)
                    fitting = ImageStore(folder)
                return fitting
        except OSError as error:
            raise InputError(
                f"{folder}: the store of the images cannot be written ({error.strerror}); what is complete is kept: "
                "make room and run again, or name another folder with --data.store"
            ) from error

    def _check_outputs(self) -> None:
        """Refuse a folder with files of somebody else in the places of the store's, before any is touched."""
        read = [self._images / file for file, *_ in self._versions] if self._overwrite else []
        advice = "name another folder for the store, or give `gan ingest` --overwrite"
        outputs = Outputs(read, self._overwrite, advice)
        marks = _marks(self._folder)
        for path, mark in marks.items():
            outputs.check(path, mark)
        for path, mark in marks.items():
            # Some are written in place, which would reach through a link.
            if path.is_symlink() or (path.exists() and not mark.found_in(path)):
                path.unlink()

    @cached_property
    def _found(self) -> ImageStore | None:
        # As it was before the lock: to read a long index takes half a second.
        return _existing(self._folder)

    def _list_again(self) -> bool:
        """List the files anew; returns whether they have changed."""
        # Somebody may have built for hours, of files that are newer than what was listed before the lock was free.
        versions = find_versions(self._images, self._folder)
        if versions == self._versions:
            return False
        self._versions, self._looked_into = versions, None
        return True

    def _build(self, old: ImageStore | None) -> None:
        sources = self._sources(old)
        build = Build(self._images, self._folder, sources, self._options, old, self._n_threads, self._backend)
        build.run(scan_of(self._versions, self._options))

    def _sources(self, old: ImageStore | None) -> list[Source]:
        if self._looked_into is None:
            known = {} if old is None else Previous(old, made_with(self._options)).sources(self._images)
            self._looked_into = find_sources(self._images, self._versions, self._n_threads, known)
        return self._looked_into

    def _fitting(self, store: ImageStore | None) -> ImageStore | None:
        """The store if it is of the files as they were listed."""
        if store is None:
            return None
        if store.skipped:
            fits = store.scan == scan_of(self._versions, self._options)
        else:
            # Its index says all that the hash is of, and is quicker to compare.
            fits = store.made == made_with(self._options) and list(store.images.versions) == self._versions
        return store if fits else None


def open_store(
    images: Path,
    folder: Path,
    n_threads: int | None = None,
    options: FigureOptions = AS_FOUND,
    backend: Backend | None = None,
    again: bool = False,
    overwrite: bool = False,
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
        overwrite: Whether files of somebody else with the names of a store's are replaced.

    Raises:
        InputError: If there are no images, none can be read, the settings of images of `gan encode` differ, the
            store cannot be written, or not without replacing files of somebody else, or the backend cannot be used.
    """
    return Opening(images, folder, options, n_threads, backend, overwrite).store(again)


def scan_of(versions: list[Version], options: FigureOptions) -> str:
    """Hash of a folder and the options, by which a store is known to fit.

    Args:
        versions: Of `find_versions`.
        options: How to read figures.
    """
    return content_hash([CONTENT, versions, dataclasses.asdict(options)])


def _marks(folder: Path) -> dict[Path, Mark]:
    """The files of a store that have fixed names, and what tells them from files of somebody else."""
    index, journal, frames = folder / INDEX, folder / JOURNAL, folder / FRAMES

    def is_index(path: Path) -> bool:
        # Also of one that is damaged, and quicker than to read a long one.
        return has_frames(folder) or _is_index(path)

    def is_empty(path: Path) -> bool:
        return path.stat().st_size == 0

    kind = "file of a store of gan ingest"
    return {
        index: Mark(kind, is_index),
        folder / _LOCK: Mark(kind, is_empty),
        # A kill may leave any of both in any state, but not one without the other.
        journal: Mark(kind, lambda path: is_empty(path) or frames.exists() or starts_with(path, b'{"made": ')),
        frames: Mark(kind, lambda path: is_empty(path) or journal.exists()),
    }


def _is_index(path: Path) -> bool:
    """Whether a file is the index of a store of any version."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(index, dict) and {"format", "kind", "scan"} <= index.keys()


def _existing(folder: Path) -> ImageStore | None:
    try:
        return ImageStore(folder)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        # Nothing is wrong with the files, and nobody is to build them anew.
        raise InputError(
            f"{folder}: the store of the images cannot be opened ({error.strerror}); run again, or name another folder "
            "with --data.store"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError):
        return None
