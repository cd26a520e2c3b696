"""Builds the store of a folder of images: in parallel, restartable, refreshed when files change."""

import dataclasses
import hashlib
import json
import os
import posixpath
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from gan.data.store import FORMAT, INDEX, ImageStore, StoredImage, Version, content_hash, row_bytes
from gan.errors import InputError
from gan.files import atomic_write, remove_parts
from gan.sound.codec import Codes, ImageHeader, read_codes, read_header
from gan.sound.spectrogram import SpectrogramSettings

T = TypeVar("T")

_JOURNAL = "building.jsonl"
_FRAMES_BUILDING = "building.frames"
# Images decoded between two syncs to disk: what a kill can cost.
_CHUNK = 32


def find_images(images: Path) -> list[Path]:
    """All PNG files of a folder tree, sorted, so that a recording's images follow each other.

    Raises:
        InputError: If the folder is missing or has none.
    """
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; make images with `gan encode RECORDINGS {images}`")
    found = sorted(path for path in images.rglob("*.png") if not path.name.startswith("."))
    if not found:
        raise InputError(f"{images}: no images (*.png) in it; make some with `gan encode RECORDINGS {images}`")
    return found


def open_store(images: Path, folder: Path, n_threads: int | None = None) -> ImageStore:
    """Open the store of a folder of images; build or refresh it first if files were added, changed or removed.

    A build that was stopped goes on where it was; the old store stays until the new one is whole. Images that cannot
    be read are left out and named in `store.skipped`.

    Args:
        images: The folder of images.
        folder: Where the store lies or is to lie.
        n_threads: Images decoded at a time; one per core if not given.

    Raises:
        InputError: If there are no images, none can be read, their settings differ or the store cannot be written.
    """
    versions = [_version(path, images) for path in find_images(images)]
    scan = content_hash(versions)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            try:
                store = ImageStore(folder)
            except (OSError, ValueError, KeyError, TypeError):
                store = None
            if store is None or store.scan != scan:
                _build(images, folder, versions, scan, store, n_threads)
                store = ImageStore(folder)
            return store
    except OSError as error:
        raise InputError(
            f"{folder}: the store of the images cannot be written ({error.strerror}); what is complete is kept: make "
            "room and run again, or name another folder with --data.store"
        ) from error


def _version(path: Path, images: Path) -> Version:
    status = path.stat()
    return path.relative_to(images).as_posix(), status.st_size, status.st_mtime_ns


class _Job(NamedTuple):
    """An image and where its frames go."""

    version: Version
    header: ImageHeader
    first_row: int


def _build(
    images: Path, folder: Path, versions: list[Version], scan: str, old: ImageStore | None, n_threads: int | None
) -> None:
    remove_parts(folder)
    pool = ThreadPoolExecutor(n_threads or os.cpu_count())
    plan, skipped = _plan(images, versions, pool)
    settings = _common_settings(plan)
    n_rows = sum(job.header.n_frames for job in plan)
    # What need not be decoded again: from a build that was stopped, and from the store that this one replaces.
    done = {image.file: image for image in _read_journal(folder, scan)}
    reusable = _Reusable(old if old is not None and old.settings == settings else None)
    frames_path, journal_path = folder / _FRAMES_BUILDING, folder / _JOURNAL
    if not done:
        journal_path.write_text(json.dumps(scan) + "\n", encoding="utf-8")
    frames_path.touch()
    jobs = [job for job in plan if job.version[0] not in done]
    bar = tqdm(total=len(jobs), desc="store", unit="image", disable=None)
    with frames_path.open("r+b") as frames, journal_path.open("a", encoding="utf-8") as journal, bar, pool:
        frames.truncate(n_rows * row_bytes(settings))
        for start in range(0, len(jobs), _CHUNK):
            chunk = jobs[start : start + _CHUNK]
            stored = list(pool.map(partial(_try, _store_frames, images, frames.fileno(), reusable), chunk))
            # Synced before they are noted down: a note must not outlive a power cut that its frames did not.
            os.fsync(frames.fileno())
            for job, image in zip(chunk, stored, strict=True):
                if isinstance(image, InputError):
                    skipped[job.version[0]] = str(image)
                else:
                    done[image.file] = image
                    journal.write(json.dumps(dataclasses.astuple(image)) + "\n")
            journal.flush()
            bar.update(len(chunk))
    if not done:
        raise _none_usable(images, skipped)
    stored_images = [done[file] for file, _, _ in versions if file in done]
    _finish(folder, settings, scan, stored_images, [skipped[file] for file in sorted(skipped)])


def _plan(images: Path, versions: list[Version], pool: ThreadPoolExecutor) -> tuple[list[_Job], dict[str, str]]:
    """Where each image's frames go, and what is wrong with the images that have no place."""
    plan: list[_Job] = []
    skipped: dict[str, str] = {}
    first_row = 0
    headers = pool.map(partial(_try, read_header), [images / file for file, _, _ in versions])
    for version, header in zip(versions, headers, strict=True):
        if isinstance(header, InputError):
            skipped[version[0]] = str(header)
        else:
            plan.append(_Job(version, header, first_row))
            first_row += header.n_frames
    if not plan:
        raise _none_usable(images, skipped)
    return plan, skipped


class _Reusable:
    """Frames of an older store, by the version of their image."""

    def __init__(self, store: ImageStore | None) -> None:
        self._store = store
        self._index = {} if store is None else {image.version: index for index, image in enumerate(store.images)}

    def get(self, version: Version) -> tuple[Codes, str] | None:
        """The frames of an image that has not changed and its hash."""
        if self._store is None or version not in self._index:
            return None
        image = self._store.images[self._index[version]]
        return self._store.codes(self._index[version], 0, image.n_frames), image.sha256


def _store_frames(images: Path, frames: int, reusable: _Reusable, job: _Job) -> StoredImage:
    """Write an image's frames to their place in a file, given by its descriptor."""
    (file, _, _), header, first_row = job
    reused = reusable.get(job.version)
    if reused is None:
        upright, _ = read_codes(images / file)
        codes = np.ascontiguousarray(upright.T)
        with (images / file).open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
    else:
        codes, sha256 = reused
    os.pwrite(frames, codes.data, first_row * row_bytes(header.settings))
    recording, start_second = file, 0.0
    if header.origin is not None:
        recording = posixpath.normpath(posixpath.join(posixpath.dirname(file), header.origin.recording))
        start_second = header.origin.start_second
    return StoredImage(*job.version, sha256, first_row, header.n_frames, header.level_db, recording, start_second)


def _none_usable(images: Path, skipped: dict[str, str]) -> InputError:
    return InputError(f"{images}: none of its {len(skipped)} images can be used; {next(iter(skipped.values()))}")


def _try(function: Callable[..., T], *arguments: Any) -> T | InputError:
    try:
        return function(*arguments)
    except InputError as error:
        return error


def _common_settings(plan: list[_Job]) -> SpectrogramSettings:
    files: dict[SpectrogramSettings, list[str]] = {}
    for job in plan:
        files.setdefault(job.header.settings, []).append(job.version[0])
    if len(files) > 1:
        kinds = "; ".join(
            f"{len(names)} like {names[0]}: "
            + ", ".join(f"{name} {value}" for name, value in settings.to_dict().items() if _differs(name, files))
            for settings, names in files.items()
        )
        raise InputError(f"the images were made with different settings ({kinds}); keep one kind in the folder")
    return next(iter(files))


def _differs(name: str, files: dict[SpectrogramSettings, list[str]]) -> bool:
    return len({getattr(settings, name) for settings in files}) > 1


def _read_journal(folder: Path, scan: str) -> list[StoredImage]:
    """What a stopped build of the same images had done; a last line that was cut off is left out."""
    try:
        first, *lines = (folder / _JOURNAL).read_text(encoding="utf-8").split("\n")[:-1]
        if json.loads(first) == scan and (folder / _FRAMES_BUILDING).exists():
            return [StoredImage(*json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError):
        pass
    return []


def _finish(
    folder: Path, settings: SpectrogramSettings, scan: str, stored: list[StoredImage], skipped: list[str]
) -> None:
    # The frames get a name of their own, so that the index, replaced in one step, never points to other frames, and
    # a training that reads the old ones is not disturbed.
    frames = f"{scan[:16]}.frames"
    (folder / _FRAMES_BUILDING).replace(folder / frames)
    names = [field.name for field in dataclasses.fields(StoredImage)]
    index = {
        "format": FORMAT,
        "settings": settings.to_dict(),
        "scan": scan,
        "frames": frames,
        "skipped": skipped,
        "images": {name: [getattr(image, name) for image in stored] for name in names},
    }
    with atomic_write(folder / INDEX) as part:
        part.write_text(json.dumps(index), encoding="utf-8")
    for path in folder.glob("*.frames"):
        if path.name != frames:
            path.unlink()
    (folder / _JOURNAL).unlink()
