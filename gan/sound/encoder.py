"""Recordings to image files: a whole folder tree, in parallel, restartable."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from gan.errors import InputError
from gan.files import remove_parts
from gan.sound.codec import ImageHeader, Origin, encode_image, read_header
from gan.sound.recording import SUFFIXES, windows
from gan.sound.spectrogram import SpectrogramSettings, magnitude_from_waveform


@dataclass
class EncodeReport:
    """What became of the recordings.

    Attributes:
        n_recordings: Recordings whose images are all there now.
        n_written: Images written.
        n_kept: Images that were there already, made with the same settings from the same recording.
        skipped: What is wrong with each recording that was left out, one line each.
    """

    n_recordings: int = 0
    n_written: int = 0
    n_kept: int = 0
    skipped: list[str] = field(default_factory=list)


def find_recordings(recordings: Path) -> list[Path]:
    """All sound files of a folder tree by their suffix, sorted; a file is itself, whatever it is called.

    Raises:
        InputError: If there is nothing.
    """
    if recordings.is_file():
        return [recordings]
    if not recordings.is_dir():
        raise InputError(f"{recordings}: no such file or folder; give a recording or a folder of recordings")
    found = [
        path
        for path in recordings.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise InputError(f"{recordings}: no sound files in it; looked for {', '.join(sorted(SUFFIXES))}")
    return sorted(found)


def encode_recordings(
    recordings: Path,
    images: Path,
    settings: SpectrogramSettings,
    window_seconds: float = 60.0,
    step_seconds: float | None = None,
    n_jobs: int = -1,
) -> EncodeReport:
    """Write the spectrogram images of a recording or of a folder tree of recordings.

    `a/b.wav` becomes `a/b.wav.0000.png`, `a/b.wav.0001.png` and so on. Images that are there already, newer than their
    recording and made the same way are kept, so a job that was stopped goes on where it was. A recording that cannot
    be read is skipped and reported.

    Args:
        recordings: A sound file or a folder.
        images: The folder to write to.
        settings: The grid.
        window_seconds: Length of an image.
        step_seconds: From the start of one image to the next; None for window_seconds.
        n_jobs: Recordings at a time; -1 for one per core.

    Returns:
        What was done.

    Raises:
        InputError: If there are no recordings, the windows make no sense or the images cannot be written.
    """
    step_seconds = window_seconds if step_seconds is None else step_seconds
    window_samples = round(window_seconds * settings.sample_rate)
    step_samples = round(step_seconds * settings.sample_rate)
    if min(window_samples, step_samples) < settings.hop_length:
        raise InputError(
            f"windows of {window_seconds:g} s every {step_seconds:g} s are shorter than one frame "
            f"({settings.hop_length / settings.sample_rate:.3g} s); use longer ones"
        )
    paths = find_recordings(recordings)
    root = recordings if recordings.is_dir() else recordings.parent
    if images.is_dir():
        remove_parts(images)
    encode = delayed(_encode_recording)
    # Threads, not processes: files, resampling, transforms and compression all run outside of Python's lock, and a
    # process would first spend seconds importing torch.
    results: Iterator[EncodeReport] = Parallel(n_jobs=n_jobs, backend="threading", return_as="generator_unordered")(
        encode(path, images / path.relative_to(root), settings, window_samples, step_samples) for path in paths
    )
    report = EncodeReport()
    for result in tqdm(results, total=len(paths), desc="encode", unit="recording", disable=None):
        report.n_recordings += result.n_recordings
        report.n_written += result.n_written
        report.n_kept += result.n_kept
        report.skipped += result.skipped
    report.skipped.sort()
    return report


def _image_path(target: Path, index: int) -> Path:
    return target.with_name(f"{target.name}.{index:04d}.png")


def _encode_recording(
    recording: Path, target: Path, settings: SpectrogramSettings, window_samples: int, step_samples: int
) -> EncodeReport:
    there = _images_there(recording, target, settings)
    if _complete(there, window_samples, step_samples):
        return EncodeReport(n_recordings=1, n_kept=len(there))
    relative = Path(os.path.relpath(recording.resolve(), target.parent.resolve())).as_posix()
    report = EncodeReport()
    written: list[Path] = []
    index = 0
    try:
        for window in windows(recording, settings.sample_rate, window_samples, step_samples):
            start_second = window.start_sample / settings.sample_rate
            origin = Origin(relative, start_second, len(window.waveform), window.last)
            path = _image_path(target, index)
            if index < len(there) and there[index].origin == origin:
                report.n_kept += 1
            else:
                magnitude = magnitude_from_waveform(torch.from_numpy(window.waveform), settings)
                try:
                    encode_image(path, magnitude, settings, origin)
                except OSError as error:
                    raise _WriteError(f"{path}: cannot be written ({error.strerror}); what is complete is kept") from error
                written.append(path)
                report.n_written += 1
            index += 1
    except _WriteError:
        raise
    except InputError as error:
        # Half of a recording is not what was asked for, and its last window would be in the wrong place.
        for path in written:
            path.unlink()
        return EncodeReport(skipped=[str(error)])
    while (stale := _image_path(target, index)).exists():
        stale.unlink()
        index += 1
    report.n_recordings = 1
    return report


class _WriteError(InputError):
    """The folder of images, not a recording, is at fault: going on with other recordings would not help."""


def _images_there(recording: Path, target: Path, settings: SpectrogramSettings) -> list[ImageHeader]:
    """Headers of the recording's first images, up to one that is missing or was made otherwise."""
    changed = recording.stat().st_mtime_ns
    headers: list[ImageHeader] = []
    while (path := _image_path(target, len(headers))).exists() and path.stat().st_mtime_ns >= changed:
        try:
            header = read_header(path)
        except InputError:
            break
        if header.settings != settings:
            break
        headers.append(header)
    return headers


def _complete(headers: list[ImageHeader], window_samples: int, step_samples: int) -> bool:
    """Whether these are all the images of a recording, cut as asked."""
    for index, header in enumerate(headers):
        origin = header.origin
        if origin is None or origin.last != (index == len(headers) - 1):
            return False
        start = round(origin.start_second * header.settings.sample_rate)
        if origin.last:
            previous = (index - 1) * step_samples
            fits = previous < start <= index * step_samples and origin.n_samples == window_samples
            return fits or (index == 0 and origin.n_samples <= window_samples)
        if start != index * step_samples or origin.n_samples != window_samples:
            return False
    return False
