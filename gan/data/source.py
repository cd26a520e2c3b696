"""One image file to the frames of a store: an image of `gan encode`, or a figure that somebody else drew."""

import dataclasses
import hashlib
import os
import posixpath
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan.data.index import StoredImage, Version
from gan.data.kind import Kind, left_out
from gan.data.look import look_of
from gan.data.shards import row_bytes
from gan.errors import InputError, NotNow, is_of_disk
from gan.sound.codec import Codes, has_header, read_codes, read_header
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import open_picture
from gan.sound.figure.reader import peak_bytes, read_figure
from gan.sound.settings import SpectrogramSettings

_PNG = ".png"


@dataclass(frozen=True)
class Source:
    """An image file.

    Attributes:
        path: The file.
        version: Its path relative to the folder of images, and what tells whether it has changed.
        settings: Of an image of `gan encode`; None for a figure, and where it is damaged.
        n_frames: Width of an image of `gan encode`, if it has settings.
        is_figure: Whether it is no image of `gan encode`.
        problem: Why a PNG cannot be read as an image of `gan encode`; None for other files.
        was_opened: Whether the problem is the file's; if not, it may be read another time, and what it is is not known.
    """

    path: Path
    version: Version
    settings: SpectrogramSettings | None = None
    n_frames: int = 0
    is_figure: bool = True
    problem: str | None = None
    was_opened: bool = True

    @property
    def file(self) -> str:
        """Its path relative to the folder of images, with forward slashes."""
        return self.version[0]

    @property
    def error(self) -> InputError:
        """Its problem; `NotNow` if that is not the file's."""
        return (InputError if self.was_opened else NotNow)(str(self.problem))

    def peak_bytes(self) -> int:
        """About how much memory reading it takes.

        Raises:
            InputError: If that cannot be told, because it cannot be read.
        """
        if self.settings is None:
            return peak_bytes(self.path) if self.is_figure else 0
        # Pillow's pixels, numpy's, turned over, and the bytes of the file.
        return 4 * self.n_frames * row_bytes(self.settings)


@dataclass(frozen=True)
class Decoded:
    """What a store keeps of an image file.

    Attributes:
        codes: Pixels, frame after frame, shape (n_frames, n_freqs).
        image: Its line of the index; the first row is not known yet, nor a figure's recording.
        kind: Its grid, and what was found in a figure.
    """

    codes: Codes
    image: StoredImage
    kind: Kind


Outcome = Decoded | InputError


def find_sources(
    images: Path, versions: list[Version], n_threads: int, known: Mapping[Version, Source]
) -> list[Source]:
    """Tell images of `gan encode` from figures.

    Args:
        images: The folder.
        versions: Its files.
        n_threads: Files looked into at a time.
        known: Those that need not be looked into.
    """

    def look(version: Version) -> Source:
        path = images / version[0]
        if path.suffix.lower() != _PNG:
            return Source(path, version)
        try:
            header = read_header(path)
            return Source(path, version, header.settings, header.n_frames, is_figure=False)
        except NotNow as error:
            return Source(path, version, problem=str(error), was_opened=False)
        except InputError as error:
            return Source(path, version, is_figure=not has_header(path), problem=str(error))
        except OSError as error:
            return Source(path, version, problem=str(_unopened(path, error)), was_opened=False)

    unknown = [version for version in versions if version not in known]
    with ThreadPoolExecutor(n_threads) as pool:
        sources = dict(known) | dict(zip(unknown, pool.map(look, unknown), strict=True))
    return [sources[version] for version in versions]


def read_source(source: Source, options: FigureOptions) -> Outcome:
    """Read an image file, or say why it cannot be read: one file must not end the reading of a thousand."""
    try:
        if source.settings is not None:
            return _read_image(source)
        return _read_figure(source, options) if source.is_figure and source.was_opened else source.error
    except InputError as error:
        return error
    except MemoryError:
        return NotNow(f"{source.path}: too little memory to read it; close other programs: `gan ingest` tries it again")
    except Exception as error:
        if is_of_disk(error):
            return _unopened(source.path, error)
        return InputError(
            f"{source.path}: cannot be read ({type(error).__name__}: {error}), which is an error of `gan`; report it"
        )


def read_as(source: Source, kind: Kind, options: FigureOptions, first: Outcome | None = None) -> Outcome:
    """Read an image file for a store of a kind, or say why it has no place in it.

    Where nothing is found in a figure, or something else than in the others, because little is to be seen in it, it is
    read once more with what was found in the others, if its picture is as large as theirs. The reader refuses what
    contradicts the picture.

    Args:
        source: The file.
        kind: What the images of the store have in common.
        options: What the user says of the figures.
        first: What `read_source` made of the file, if it was read already.
    """
    outcome = read_source(source, options) if first is None else first
    if isinstance(outcome, NotNow):
        return outcome
    if isinstance(outcome, Decoded):
        fits = outcome.kind.settings == kind.settings
        guesses = [f"{finding.name} {finding.value} is a guess" for finding in outcome.kind.guesses_against(kind)]
        if fits and not guesses:
            return outcome
        problem = InputError(", ".join(guesses)) if fits else left_out(source.path, outcome.kind.settings, kind)
    else:
        fits, problem = False, outcome
    if kind.options is None:
        # Where most images are of `gan encode`, what is wrong with a PNG is that it is none.
        return problem if source.problem is None else source.error
    again: Outcome | None = None
    try:
        if source.is_figure and picture_size(source.path) == kind.size:
            again = read_source(source, kind.options)
    except NotNow as error:
        again = error
    if isinstance(again, NotNow):
        return again
    if isinstance(again, Decoded) and again.kind.settings == kind.settings:
        # Without what to do about it, which has been done.
        reason = str(problem).removeprefix(f"{source.path}: ").partition("; ")[0]
        return _noted(again, f"read with what the others show, because alone: {reason}")
    return outcome if fits else problem


def _noted(decoded: Decoded, note: str) -> Decoded:
    kind = dataclasses.replace(decoded.kind, warnings=(note, *decoded.kind.warnings))
    image = dataclasses.replace(decoded.image, look=look_of(kind, decoded.image.n_frames))
    return dataclasses.replace(decoded, image=image)


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture in pixels; None for what is no picture, such as an array.

    Raises:
        NotNow: If it cannot be opened.
    """
    try:
        with open_picture(path) as picture:
            return picture.size
    except NotNow:
        raise
    except InputError:
        return None


def _unopened(path: Path, error: OSError) -> NotNow:
    # Rights, a network's disk and the number of open files change without the file.
    return NotNow(f"{path}: cannot be opened ({error.strerror or error})")


def _read_image(source: Source) -> Decoded:
    upright, header = read_codes(source.path)
    with source.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    recording, start_second = source.file, 0.0
    if header.origin is not None:
        recording = posixpath.normpath(posixpath.join(_real_folder(source), header.origin.recording))
        start_second = header.origin.start_second
    image = StoredImage(*source.version, sha256, 0, header.n_frames, header.level_db, recording, start_second)
    return Decoded(np.ascontiguousarray(upright.T), image, Kind(header.settings))


def _real_folder(source: Source) -> str:
    """Where a file really lies, relative to the folder of images: the path of its recording starts there."""
    images = Path(os.path.realpath(source.path.parents[source.file.count("/")]))
    named, real = posixpath.dirname(source.file), Path(os.path.realpath(source.path.parent))
    return named if real == images / named else Path(os.path.relpath(real, images)).as_posix()


def _read_figure(source: Source, options: FigureOptions) -> Decoded:
    figure = read_figure(source.path, options)
    upright, level_db = figure.codes()
    codes = np.ascontiguousarray(upright.T)
    # Of what was read, not of the file: hashing 80 MB takes 4 % of the time to read them on a processor that has
    # instructions for it, 13 % on others, and what was read depends on the options too.
    sha256 = hashlib.sha256(codes.data).hexdigest()
    size = picture_size(source.path)
    kind = Kind(figure.settings, figure.findings, figure.warnings, figure.as_options(options), size)
    n_frames = len(codes)
    look = look_of(kind, n_frames)
    return Decoded(codes, StoredImage(*source.version, sha256, 0, n_frames, level_db, source.file, 0.0, look), kind)
