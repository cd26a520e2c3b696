"""`gan ingest`: pictures of spectrograms to the store that a GAN trains on."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gan.backend import Backend, NameOrThreads
from gan.commands.parser import parser_of
from gan.sound.figure.options import FigureOptions

if TYPE_CHECKING:
    from gan.data.kind import Kind
    from gan.data.store import ImageStore


def ingest(
    pictures: Path,
    store: Path | None,
    options: FigureOptions,
    n_jobs: int = -1,
    backend: NameOrThreads = "threading",
    scheduler: str | None = None,
    overwrite: bool = False,
) -> int:
    """Read a folder of pictures of spectrograms, as they are, into the store that a GAN trains on.

    Pictures are figures that matplotlib or librosa drew (JPEG, PNG, TIFF, WebP, BMP), arrays (.npy) or images of
    `gan encode`. How they were made is found out and reported, with what could not be read and what looks odd. What is
    in the store already is kept: a job that was stopped goes on where it was, and what memory or workers were lacking
    for, or could not be opened, is tried again.

    Args:
        pictures: Folder of pictures, sub-folders included: linked ones are followed, hidden ones left out.
        store: Folder for what is read, a byte for each cell of the spectrograms; `.store` in the folder of pictures,
            where the training looks for it, if not given.
        options: How to read figures.
        n_jobs: Pictures read at a time, if there is memory for them; -1 for one per core.
        backend: Where pictures are read: threading (in this process), loky (processes of this machine), or dask or ray
            (a cluster, which must see the pictures at the same paths; this process alone writes the store).
        scheduler: Address of Dask's scheduler (tcp://HOST:8786) or Ray's head (HOST:6379); what their own settings say
            if not given (DASK_SCHEDULER_ADDRESS, RAY_ADDRESS).
        overwrite: Replace files that `gan ingest` did not make.

    Returns:
        Exit code: 1 if a picture was left out.
    """
    from joblib import effective_n_jobs

    from gan.data.listing import describe_unread_images
    from gan.data.opening import open_store

    elsewhere = Backend.named(backend, scheduler, n_jobs)
    folder = pictures / ".store" if store is None else store
    opened = open_store(pictures, folder, effective_n_jobs(n_jobs), options, elsewhere, again=True, overwrite=overwrite)
    print(_contents(opened, folder))
    print(_table(opened.kind), end="")
    for line in opened.odd:
        print(f"odd: {line}")
    print(f"train on it with\n  {_training(pictures, store, options)}")
    if unread := describe_unread_images(pictures):
        print(unread, file=sys.stderr)
    for line in opened.skipped:
        print(f"left out {line}", file=sys.stderr)
    if opened.skipped:
        print(f"{len(opened.skipped)} of {len(opened.images) + len(opened.skipped)} were left out", file=sys.stderr)
    return 1 if opened.skipped else 0


def _contents(store: "ImageStore", folder: Path) -> str:
    from gan.data.crops import fresh_frames

    settings = store.settings
    minutes = settings.hop_length / settings.sample_rate / 60
    n_frames = sum(store.images.n_frames)
    n_fresh = int(fresh_frames(store, range(len(store.images)), 1).width.sum())
    n_recordings = len(set(store.images.recording))
    overlap = "" if n_fresh == n_frames else f", {n_fresh * minutes:.1f} of them without what overlaps"
    return (
        f"{len(store.images)} images of {n_recordings} recordings, {n_frames * minutes:.1f} minutes{overlap}, are "
        f"{store.n_bytes / 1e9:.3g} GB in {folder}"
    )


def _table(kind: "Kind") -> str:
    """What was found in a figure like most of them; nothing for images of `gan encode`."""
    from gan.sound.figure.figure import findings_table

    lines = [f"  {line}\n" for line in findings_table(kind.findings).splitlines()]
    return "".join(lines) + "".join(f"note: {line}\n" for line in kind.warnings)


def _training(pictures: Path, store: Path | None, options: FigureOptions) -> str:
    """The command that trains on the store: with the same options, or it would be built anew."""
    words = ["python", "train.py", "--data.images", str(pictures)]
    words += [] if store is None else ["--data.store", str(store)]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default:
            words += [f"--data.figures.{field.name}", str(list(value) if isinstance(value, tuple) else value)]
    return shlex.join(words)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan ingest` and run it."""
    parser = parser_of(ingest)
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help="Folder of pictures, sub-folders included.")
    parser.add_argument(
        "store", nargs="?", type=Path, metavar="STORE", help="Folder for what is read; PICTURES/.store if not given."
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace files that `gan ingest` did not make.")
    parser.add_function_arguments(ingest, skip={"pictures", "store", "options", "overwrite"})
    parser.add_class_arguments(FigureOptions, as_group=False)
    given = parser.parse_args(list(arguments)).as_dict()
    options = {field.name: given.pop(field.name) for field in dataclasses.fields(FigureOptions)}
    return ingest(**given, options=FigureOptions(**options))
