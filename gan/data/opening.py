"""Opens the store of a folder of images, which is built or refreshed first where that is needed."""

import dataclasses
import os
from pathlib import Path

from filelock import FileLock

from gan.backend import Backend
from gan.data.agreement import settings_of_one
from gan.data.build import Build, made_with
from gan.data.building import FRAMES
from gan.data.index import Version
from gan.data.shards import remove_others
from gan.data.source import find_versions
from gan.data.store import CONTENT, ImageStore, content_hash
from gan.errors import InputError
from gan.files import remove_parts
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings

# Everything is found in the figures, or as librosa has it.
AS_FOUND = FigureOptions()


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            store = _existing(folder)
            if store is not None:
                # What a refresh left that was killed before the index named it, or names it no longer.
                remove_others(folder, [*store.shards.names, FRAMES])
            if store is None or not _fits(store, versions, options) or (again and store.unfinished):
                remove_parts(folder)
                n_threads = n_threads or os.cpu_count() or 1
                Build(images, folder, versions, options, store, n_threads, backend).run(scan_of(versions, options))
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
    return _fitting(folder, find_versions(images, folder), options)


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
    if (store := _fitting(folder, versions, options)) is not None:
        return store.settings
    return settings_of_one(images, versions, options)


def scan_of(versions: list[Version], options: FigureOptions) -> str:
    """Hash of a folder and the options, by which a store is known to fit.

    Args:
        versions: Of `find_versions`.
        options: How to read figures.
    """
    return content_hash([CONTENT, versions, dataclasses.asdict(options)])


def _existing(folder: Path) -> ImageStore | None:
    try:
        return ImageStore(folder)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _fitting(folder: Path, versions: list[Version], options: FigureOptions) -> ImageStore | None:
    store = _existing(folder)
    return store if store is not None and _fits(store, versions, options) else None


def _fits(store: ImageStore, versions: list[Version], options: FigureOptions) -> bool:
    if not store.skipped:
        # Its index says all that the hash is of, and is quicker to compare.
        return store.made == made_with(options) and list(store.images.versions) == versions
    return store.scan == scan_of(versions, options)
