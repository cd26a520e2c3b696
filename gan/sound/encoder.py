"""Recordings to image files: a whole folder tree, in parallel, restartable."""

import dataclasses
import math
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Self

import torch
from joblib import effective_n_jobs

from gan.backend import Backend, WorkerLost
from gan.errors import InputError
from gan.files import PART, NameRefused, refuse_unwritable, remove_parts, unwritable
from gan.outputs import Mark, Outputs, shared_outputs
from gan.progress import Progress
from gan.sound.channel import MIX, Channel, check_channel
from gan.sound.codec import Origin, encode_image, has_header, read_header
from gan.sound.figure.pixels import open_picture
from gan.sound.mixdown import Mixdown
from gan.sound.recording import find_recordings, read_recording_header, windows
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

_ADVICE = "give another folder for the images, or --overwrite"
# More are looked for in a list of the folder.
_MANY_IMAGES = 1000


@dataclass
class EncodeReport:
    """What became of the recordings.

    Attributes:
        n_recordings: Recordings whose images are all there now.
        n_written: Images written.
        n_kept: Images that were there already, made with the same settings from the same recording.
        skipped: What is wrong with each recording that was left out, one line each.
        notes: What is to be said of the mix of recordings that were read, one line each.
    """

    n_recordings: int = 0
    n_written: int = 0
    n_kept: int = 0
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "EncodeReport") -> None:
        """Add up two reports."""
        self.n_recordings += other.n_recordings
        self.n_written += other.n_written
        self.n_kept += other.n_kept
        self.skipped += other.skipped
        self.notes += other.notes


def encode_recordings(
    recordings: Path,
    images: Path,
    settings: SpectrogramSettings,
    window_seconds: float = 60.0,
    step_seconds: float | None = None,
    n_jobs: int = -1,
    backend: Backend | None = None,
    overwrite: bool = False,
    channel: Channel = MIX,
) -> EncodeReport:
    """Write the spectrogram images of a recording or of a folder tree of recordings.

    `a/b.wav` becomes `a/b.wav.0000.png`, `a/b.wav.0001.png` and so on. Images that are there already, newer than their
    recording and made the same way are kept, so a job that was stopped goes on where it was. A recording that cannot
    be read, or whose images cannot be written under its name, is skipped and reported.

    Args:
        recordings: A sound file or a folder.
        images: The folder to write to.
        settings: The grid.
        window_seconds: Length of an image.
        step_seconds: From the start of one image to the next; None for window_seconds.
        n_jobs: Recordings at a time, in threads of this process; -1 for one per core.
        backend: Where else the work is to be done. Recordings and images must be at the same place there. Progress
            is told by recordings then, and not within them.
        overwrite: Whether files in the images' places that are no images of `gan encode` are replaced; recordings
            never are. Without it such a recording is skipped and reported.
        channel: Which channel is encoded; the mix of all if not given.

    Returns:
        What was done.

    Raises:
        InputError: If there are no recordings, the windows make no sense, the images cannot be written, or those of the
            only recording would replace other files.
    """
    step_seconds = window_seconds if step_seconds is None else step_seconds
    if not (math.isfinite(window_seconds) and math.isfinite(step_seconds)):
        raise InputError(f"windows of {window_seconds} s every {step_seconds} s; both must be finite")
    window_samples = round(window_seconds * settings.sample_rate)
    step_samples = round(step_seconds * settings.sample_rate)
    if min(window_samples, step_samples) < settings.hop_length:
        raise InputError(
            f"windows of {window_seconds:g} s every {step_seconds:g} s are shorter than one frame "
            f"({settings.hop_length / settings.sample_rate:.3g} s); use longer ones"
        )
    check_channel(channel)
    refuse_unwritable(images)
    paths = find_recordings(recordings)
    root = recordings if recordings.is_dir() else recordings.parent
    if images.is_dir():
        remove_parts(images)
    cut = _Cut(root, images, settings, window_samples, step_samples, overwrite, channel)
    seconds = {path: _seconds(path) for path in paths}
    report = EncodeReport()
    for path, error in _refused(cut, paths).items():
        if len(paths) == 1:
            raise error
        del seconds[path]
        report.skipped.append(f"{path}: {error}")
    with Progress("encode", "recording", len(paths), sum(seconds.values())) as progress:
        if backend is None:
            _encode_here(cut, seconds, n_jobs, progress, report)
        else:
            _encode_elsewhere(cut, seconds, backend, progress, report)
    report.skipped.sort()
    report.notes.sort()
    return report


@dataclass(frozen=True)
class _Cut:
    """How recordings become images; the arguments are those of `encode_recordings`."""

    root: Path
    images: Path
    settings: SpectrogramSettings
    window_samples: int
    step_samples: int
    overwrite: bool = False
    channel: Channel = MIX

    def target(self, path: Path) -> Path:
        """Where a recording's images go, up to their number."""
        return self.images / path.relative_to(self.root)


def _encode_here(cut: _Cut, seconds: dict[Path, float], n_jobs: int, progress: Progress, report: EncodeReport) -> None:
    # Threads, not processes: files, resampling, transforms and compression all run outside of Python's lock, and a
    # process would first spend seconds importing torch.
    stop = Event()

    def encode(path: Path) -> EncodeReport:
        with _Part(progress, seconds[path]) as part:
            try:
                return _encode_recording(path, cut, stop.is_set, part.advance)
            except _WriteError:
                stop.set()
                raise

    with ThreadPoolExecutor(effective_n_jobs(n_jobs)) as pool:
        jobs = [pool.submit(encode, path) for path in seconds]
        try:
            for job in as_completed(jobs):
                report.add(job.result())
        except BaseException:
            # Python ends badly while threads still compute: let them finish the image they are at.
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _encode_elsewhere(
    cut: _Cut, seconds: dict[Path, float], backend: Backend, progress: Progress, report: EncodeReport
) -> None:
    # Workers have working folders of their own.
    there = dataclasses.replace(cut, root=cut.root.absolute(), images=cut.images.absolute())
    lengths = {path.absolute(): length for path, length in seconds.items()}
    with _going_on(there.images) as mark:
        work = partial(_encode_as_worker, cut=there, mark=mark)
        with closing(backend.work_through(lengths, work)) as results:
            for path, encoded in results:
                if isinstance(encoded, WorkerLost):
                    report.skipped.append(f"{path}: {encoded}; the same command tries again")
                    progress.advance(lengths[path], 1)
                else:
                    report.add(encoded)
                    progress.advance(lengths[path], 1, there=not encoded.n_written)


@contextmanager
def _going_on(images: Path) -> Iterator[Path]:
    """A file among the images that is there as long as the work goes on: who sees it, sees where images belong."""
    try:
        images.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=images, prefix=".encode.", suffix=PART)
    except OSError as error:
        raise InputError(f"{images}: cannot be written ({error.strerror or error})") from error
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        # With what workers that were killed have left.
        remove_parts(images)


def _encode_as_worker(path: Path, cut: _Cut, mark: Path) -> EncodeReport:
    if not mark.exists():
        raise InputError(
            f"{cut.images}: not to be seen on {socket.gethostname()}; recordings and images must be in folders that "
            "all machines share, at the same path"
        )
    return _encode_recording(path, cut, lambda: not mark.exists(), lambda seconds, there: None)


class _Part:
    """A recording's part of all work, in seconds of sound, reported as its windows are done."""

    def __init__(self, progress: Progress, seconds: float) -> None:
        self._progress = progress
        self._left = seconds

    def advance(self, seconds: float, there: bool) -> None:
        done = min(self._left, seconds)
        self._left -= done
        self._progress.advance(done, 0, there)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        # What was not read, because all was there already or it is damaged, took no time.
        self._progress.advance(self._left, 1, there=True)


def _seconds(path: Path) -> float:
    """Length of a recording; 0 if it does not say."""
    try:
        header = read_recording_header(path, look_at_end=False)
    except InputError:
        return 0.0
    return (header.n_samples or 0) / header.sample_rate


def _refused(cut: _Cut, paths: list[Path]) -> dict[Path, InputError]:
    """The recordings that share their images with another one, or whose images would replace a recording.

    Also a recording whose images would replace any other file, if it is the only one. Of several recordings each looks
    for such files when it is its turn, which may be on another machine.
    """
    targets = {path: cut.target(path) for path in paths}
    refused = {
        path: InputError(f"its images would be those of {other}; encode them into separate folders")
        for path, other in shared_outputs(targets).items()
    }
    if cut.overwrite or len(paths) == 1:
        inputs = Outputs(paths, cut.overwrite, _ADVICE)
        for path, target in targets.items():
            try:
                _check_images(inputs, target, _n_images(path, cut))
            except InputError as error:
                refused[path] = error
    return refused


def _n_images(recording: Path, cut: _Cut) -> int:
    """How many images a recording makes; 0 if its header does not say."""
    try:
        header = read_recording_header(recording, look_at_end=False)
    except InputError:
        return 0
    n_samples = (header.n_samples or 0) * cut.settings.sample_rate / header.sample_rate
    return 1 + max(0, math.ceil((n_samples - cut.window_samples) / cut.step_samples)) if n_samples else 0


def _check_images(outputs: Outputs, target: Path, n_images: int) -> None:
    """Refuse a recording if a file that may not be replaced is in the place of one of its images."""
    for index in _images_in_place(target, n_images):
        outputs.check(_image_path(target, index), _image_mark(target, index))


def _images_in_place(target: Path, n_images: int) -> Iterator[int]:
    """Which images may be there: all that a recording makes, or as many as follow each other if that is not known."""
    if n_images <= _MANY_IMAGES:
        index = 0
        while index < n_images or (not n_images and os.path.lexists(_image_path(target, index))):
            yield index
            index += 1
        return
    # A damaged header may claim millions.
    yield 0
    if target.parent.is_dir():
        for path in sorted(target.parent.iterdir()):
            stem, _, number = path.stem.rpartition(".")
            if stem == target.name and path.suffix == ".png" and number.isdecimal() and 0 < int(number) < n_images:
                yield int(number)


def _image_mark(target: Path, index: int) -> Mark:
    """The mark of an image: its text. One that is no picture any more is known by those before and behind it."""

    def found_in(path: Path) -> bool:
        if has_header(path):
            return True
        beside = (_image_path(target, 0), _image_path(target, max(0, index - 1)), _image_path(target, index + 1))
        if not any(other != path and has_header(other) for other in beside):
            return False
        try:
            open_picture(path).close()
        except InputError:
            return True
        return False

    return Mark("image of gan encode", found_in)


def _image_path(target: Path, index: int) -> Path:
    return target.with_name(f"{target.name}.{index:04d}.png")


def _encode_recording(
    recording: Path, cut: _Cut, stopped: Callable[[], bool], advance: Callable[[float, bool], None]
) -> EncodeReport:
    settings, window_samples, step_samples = cut.settings, cut.window_samples, cut.step_samples
    target = cut.target(recording)
    relative = Path(os.path.relpath(recording.resolve(), target.parent.resolve())).as_posix()
    try:
        changed_ns = recording.stat().st_mtime_ns
    except OSError as error:
        host = socket.gethostname()
        return EncodeReport(skipped=[f"{recording}: cannot be opened on {host} ({error.strerror or error})"])
    if n_images := _n_images_there(target, relative, changed_ns, cut):
        return EncodeReport(n_recordings=1, n_kept=n_images)
    outputs = Outputs(overwrite=cut.overwrite, advice=_ADVICE)
    try:
        _check_images(outputs, target, _n_images(recording, cut))
    except InputError as error:
        return EncodeReport(skipped=[f"{recording}: {error}"])
    report = EncodeReport(n_recordings=1)
    mixdown = Mixdown(cut.channel)
    index = 0
    try:
        for window in windows(recording, settings.sample_rate, window_samples, step_samples, mixdown):
            if stopped():
                return EncodeReport()
            start_second = window.start_sample / settings.sample_rate
            origin = Origin(relative, start_second, len(window.waveform), window.last, cut.channel)
            path = _image_path(target, index)
            there = _origin_there(path, changed_ns, settings) == origin
            if there:
                report.n_kept += 1
            else:
                outputs.check(path, _image_mark(target, index))
                magnitude = magnitude_from_waveform(torch.from_numpy(window.waveform), settings)
                try:
                    encode_image(path, magnitude, settings, origin)
                except (OSError, UnicodeError) as error:
                    problem = unwritable(path, error, cut.images)
                    if isinstance(problem, NameRefused):
                        raise problem from error
                    raise _WriteError(f"{problem}; what is complete is kept") from error
                report.n_written += 1
            index += 1
            advance(step_samples / settings.sample_rate, there)
    except _WriteError:  # no fault of the recording
        raise
    except InputError as error:
        # Half of a recording is not what was asked for, and its last window would be in the wrong place.
        if index:
            _remove_images(target, 0)
        return EncodeReport(skipped=[str(error)])
    _remove_images(target, index)
    report.notes = mixdown.notes()
    return report


class _WriteError(InputError):
    """The folder of images, not a recording, is at fault: going on with other recordings would not help."""


def _remove_images(target: Path, first: int) -> None:
    """Remove a recording's images from an index on, and no file of somebody else."""
    stale: list[Path] = []
    while _exists(path := _image_path(target, first + len(stale))):
        stale.append(path)
    # The first goes last: as long as it is there, the next run sees that there is something left to remove.
    for path in reversed(stale):
        if has_header(path):
            path.unlink()


def _exists(path: Path) -> bool:
    """Whether a file is there; one of a name that is too long is not."""
    try:
        return path.exists()
    except OSError:
        return False


def _origin_there(path: Path, changed_ns: int, settings: SpectrogramSettings) -> Origin | None:
    """Origin of an image that is newer than its recording and made with these settings; None if there is none."""
    try:
        if path.stat().st_mtime_ns < changed_ns:
            return None
        header = read_header(path)
    except (OSError, InputError):
        return None
    return header.origin if header.settings == settings else None


def _n_images_there(target: Path, recording: str, changed_ns: int, cut: _Cut) -> int:
    """Number of a recording's images if they are all there, cut as asked, and no others; 0 if not."""
    settings, window_samples, step_samples = cut.settings, cut.window_samples, cut.step_samples
    index = 0
    while origin := _origin_there(_image_path(target, index), changed_ns, settings):
        start = round(origin.start_second * settings.sample_rate)
        if (origin.recording, origin.channel) != (recording, cut.channel):
            break
        if origin.last:
            fits = (index - 1) * step_samples < start <= index * step_samples and origin.n_samples == window_samples
            short = index == 0 and origin.n_samples <= window_samples
            return index + 1 if (fits or short) and not _exists(_image_path(target, index + 1)) else 0
        if start != index * step_samples or origin.n_samples != window_samples:
            break
        index += 1
    return 0
