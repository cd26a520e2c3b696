"""Sound files, read in blocks: mixed down to mono, resampled, cut into windows; and written."""

import math
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from gan.errors import InputError, is_of_disk, unreadable
from gan.files import atomic_write, refuse_pipes, unwritable
from gan.sound.headers import as_closed, holds_tags_only
from gan.sound.mixdown import Mixdown
from gan.walk import describe_unread, in_order, walk

SUFFIXES = frozenset(
    {
        ".aif", ".aifc", ".aiff", ".aiffc", ".au", ".bwf", ".caf", ".flac", ".mp2", ".mp3", ".oga", ".ogg", ".opus",
        ".rf64", ".snd", ".sph", ".voc", ".w64", ".wav", ".wave",
    }
)  # fmt: skip
# What sound comes in that is not read; ffmpeg reads all of them.
UNREAD_SUFFIXES = frozenset(
    {
        ".3gp", ".aac", ".ac3", ".alac", ".amr", ".ape", ".avi", ".dff", ".dsf", ".dts", ".eac3", ".flv", ".m4a",
        ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".mpeg", ".mpg", ".ogv", ".ra", ".rm", ".shn",
        ".spx", ".tak", ".tta", ".webm", ".wma", ".wmv", ".wv",
    }
)  # fmt: skip

_BLOCK_FRAMES = 1 << 16
# What a file is scaled to when its samples do not fit: the largest level that no rounding can push over full scale.
_FULL_SCALE = 0.999
# Sizes of what holds the samples; a wrong size around it (RIFF, FORM) or of a comment behind it is harmless.
_MENDED_SIZE = re.compile(r"(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)")
_OGG_PAGE_HEADER = 27
_OGG_PAGE_MAX = 1 << 16
# Writers that cannot seek leave the largest size, or nearly, where the length belongs; that is not a truncated file.
_UNKNOWN_SIZE = 0x7FFF0000
_UNKNOWN_FRAMES = 1 << 62
_LOUDEST = 1e30
# How files of the formats that this program writes begin.
_HEADS = {".flac": (b"fLaC",), ".wav": (b"RIFF", b"RIFX", b"RF64")}
_QUIETER = re.compile(r"made (\d{1,4}\.\d\d) dB quieter so that it does not clip")
# Bytes; libsndfile refuses 1024, with the end.
_LONGEST_PATH = 1000
_NO_SOUND_FILE = "cannot be read as sound"


@dataclass(frozen=True)
class Window:
    """A stretch of a recording.

    Attributes:
        waveform: Shape (n_samples,), float32, full scale 1.
        start_sample: Where it starts in the (resampled) recording.
        last: Whether the recording ends with it.
    """

    waveform: NDArray[np.float32]
    start_sample: int
    last: bool


def find_recordings(recordings: Path) -> list[Path]:
    """All sound files of a folder tree by their suffix, sorted; a file is itself, whatever it is called.

    Raises:
        InputError: If there is nothing.
    """
    if recordings.is_file():
        return [recordings]
    if not recordings.is_dir():
        raise InputError(f"{recordings}: no such file or folder; give a recording or a folder of recordings")
    try:
        found = [recordings / file for file, _, _ in in_order(walk(recordings, SUFFIXES))]
    except OSError as error:
        raise InputError(
            f"{error.filename or recordings}: cannot be listed ({error.strerror}); run again when it can be"
        ) from error
    if not found:
        unread = describe_unread_recordings(recordings)
        advice = unread or f"looked for {', '.join(sorted(SUFFIXES))}"
        raise InputError(f"{recordings}: no sound files in it; {advice}")
    return found


def describe_unread_recordings(recordings: Path) -> str:
    """Say which sound files of a folder tree are of formats that are not read; nothing if there are none."""
    return (
        describe_unread(recordings, UNREAD_SUFFIXES, SUFFIXES, "ffmpeg -i {} {}", ".wav") if recordings.is_dir() else ""
    )


def windows(
    path: Path, sample_rate: int, window_samples: int, step_samples: int, mixdown: Mixdown | None = None
) -> Iterator[Window]:
    """Cut a recording of any length into windows, holding little more than one of them in memory.

    Windows start every step_samples. The last one ends at the recording's end and so may overlap the one before it; a
    recording shorter than a window becomes one shorter window.

    Args:
        path: A sound file of any rate and number of channels.
        sample_rate: Rate of the windows, in Hz.
        window_samples: Length of a window at that rate.
        step_samples: From the start of one window to the next.
        mixdown: What makes one channel of all; the mix of all if not given.

    Yields:
        The windows in order.

    Raises:
        InputError: If the file is no sound file, is empty or truncated, holds samples that are no numbers, or has not
            the channel that is asked for. Windows before the damage may have been yielded.
    """
    kept = np.empty(0, np.float32)
    kept_start = 0
    start = 0
    for block in _blocks(path, sample_rate, mixdown or Mixdown()):
        kept = np.concatenate([kept, block])
        n_samples = kept_start + len(kept)
        # Only with more to come is it known that a window is not the last.
        while start + window_samples < n_samples:
            yield Window(kept[start - kept_start :][:window_samples].copy(), start, False)
            start += step_samples
        # The last window, if the recording ended here, is still needed.
        drop = max(0, min(start, n_samples - window_samples) - kept_start)
        kept = kept[drop:]
        kept_start += drop
    n_samples = kept_start + len(kept)
    if n_samples == 0:
        raise InputError(f"{path}: it holds no samples")
    start = max(0, n_samples - window_samples)
    yield Window(kept[start - kept_start :].copy(), start, True)


def open_as_named(path: Path) -> soundfile.SoundFile:
    """Open a FLAC or WAV file whose first bytes are of the format that its suffix says: no other reader has a go at it.

    Raises:
        InputError: If it is another format, or none of the two.
        OSError: If it cannot be opened.
        soundfile.SoundFileError: If it is damaged.
    """
    refuse_pipes(path)
    with path.open("rb") as file:
        head = file.read(4)
    if head not in _HEADS.get(path.suffix, ()):
        raise InputError(f"{path}: cannot be read as sound (it begins with {head!r}, which is no {path.suffix} file)")
    return soundfile.SoundFile(_by_name(path))


@dataclass(frozen=True)
class RecordingHeader:
    """What a sound file says of itself.

    Attributes:
        kind: Its format and that of its samples, e.g. "WAV PCM_16".
        sample_rate: In Hz.
        n_channels: Number of channels.
        n_samples: Length in samples; None if that is not known before it is read.
        comment: Text in the file.
    """

    kind: str
    sample_rate: int
    n_channels: int
    n_samples: int | None
    comment: str


def read_recording_header(path: Path, look_at_end: bool = True) -> RecordingHeader:
    """Read what a sound file says of itself.

    Args:
        path: The file.
        look_at_end: Whether to look if its last sample is there, which takes 0.2 s for an hour of mp3.

    Raises:
        InputError: If it is no sound file, empty or truncated.
    """
    _refuse_empty(path)
    fault = _NO_SOUND_FILE
    try:
        with _opened(path) as file:
            fault = "damaged or truncated"
            _refuse_truncated(path, file)
            known = file.frames < _UNKNOWN_FRAMES
            if look_at_end and known and file.frames and file.seekable():
                file.seek(file.frames - 1)
                if len(file.read(1)) == 0:
                    raise InputError(f"{path}: truncated: the last of {file.frames} samples is missing; copy it again")
            kind = f"{file.format} {file.subtype}"
            return RecordingHeader(kind, file.samplerate, file.channels, file.frames if known else None, file.comment)
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        # ValueError: where a damaged file leads its decoder behind the end, soundfile counts below zero.
        raise _unreadable(path, fault, error) from error


def read_excerpt(
    path: Path, sample_rate: int, start_second: float, n_samples: int, mixdown: Mixdown | None = None
) -> NDArray[np.float32]:
    """Read a stretch of a recording, mixed down and resampled.

    Args:
        path: A sound file.
        sample_rate: Rate of the result, in Hz.
        start_second: Where to start.
        n_samples: How many samples at sample_rate; what lies behind the recording's end is silence.
        mixdown: What makes one channel of all; the mix of all if not given.

    Returns:
        Shape (n_samples,), full scale 1.

    Raises:
        InputError: If the file cannot be read, holds samples that are no numbers, or has not the channel that is
            asked for.
    """
    mixdown = mixdown or Mixdown()
    _refuse_empty(path)
    try:
        with _opened(path) as file:
            mixdown.start(path, file)
            file.seek(min(round(start_second * file.samplerate), file.frames))
            # A little more than needed, for the resampling filter's tail.
            n_source = -(-n_samples * file.samplerate // sample_rate) + file.samplerate // 10
            block = file.read(n_source, dtype="float32", always_2d=True)
            _refuse_not_numbers(path, block)
            waveform = soxr.resample(mixdown(block), file.samplerate, sample_rate)[:n_samples]
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # as above
        raise _unreadable(path, _NO_SOUND_FILE, error) from error
    return np.pad(waveform, (0, n_samples - len(waveform)))


def gain_that_fits(peak: float, subtype: str = "PCM_16") -> float:
    """What a waveform of this peak is multiplied by so that its samples fit a file: 1 wherever they do.

    Args:
        peak: Largest absolute sample.
        subtype: Sample format; FLOAT fits everything.
    """
    return 1.0 if peak <= _FULL_SCALE or subtype == "FLOAT" else _FULL_SCALE / peak


class Fitted(NamedTuple):
    """A waveform whose samples fit a file.

    Attributes:
        waveform: Shape (n_samples,), within full scale.
        gain_db: What it was multiplied by: 0 if it fits as it is, else below 0.
        n_not_numbers: Samples that were NaN or infinite and are 0.
    """

    waveform: NDArray[np.float32]
    gain_db: float
    n_not_numbers: int

    @property
    def note(self) -> str:
        """The changes, for people; an empty string if there are none. `quieter_db` reads it."""
        notes = [f"made {-self.gain_db:.2f} dB quieter so that it does not clip"] if self.gain_db < 0 else []
        if self.n_not_numbers:
            notes.append(f"{self.n_not_numbers} samples that were not numbers are silent")
        return ", ".join(notes)


def fit_full_scale(waveform: NDArray[np.float32], subtype: str = "PCM_16") -> Fitted:
    """Make a waveform that is louder than full scale quieter as a whole; others keep their level.

    Args:
        waveform: Shape (n_samples,), full scale 1.
        subtype: Sample format; FLOAT fits every level.
    """
    finite = np.isfinite(waveform)
    n_not_numbers = int(waveform.size - np.count_nonzero(finite))
    if n_not_numbers:
        waveform = np.where(finite, waveform, np.float32(0.0))
    gain = gain_that_fits(float(np.abs(waveform).max(initial=0.0)), subtype)
    if gain < 1.0:
        # In double: the gain of what is near the largest float is below the smallest.
        waveform = (waveform * np.float64(gain)).astype(np.float32)
    return Fitted(waveform, 20.0 * math.log10(gain), n_not_numbers)


def quieter_db(comment: str) -> float:
    """By how many dB a file's sound is quieter than it was, as its comment says; 0 if it does not say so."""
    found = _QUIETER.search(comment)
    return float(found[1]) if found else 0.0


def write_recording(
    path: Path,
    waveform: NDArray[np.float32],
    sample_rate: int,
    subtype: str = "PCM_16",
    comment: str = "",
    sync: bool = True,
) -> Fitted:
    """Write a sound file, atomically; its suffix says its format. Nothing is clipped, see `fit_full_scale`.

    Args:
        path: The file to write.
        waveform: Shape (n_samples,), full scale 1.
        sample_rate: In Hz.
        subtype: Sample format.
        comment: Text in the file. What had to be changed of the sound is added.
        sync: As of `atomic_write`.

    Returns:
        What was written, and what had to be changed.

    Raises:
        InputError: If it cannot be written; `NameRefused` if others can.
    """
    fitted = fit_full_scale(waveform, subtype)
    comment = ", ".join(filter(None, (comment, fitted.note)))
    try:
        with atomic_write(path, sync) as part:
            source, kind = _by_name(part, os.O_RDWR), path.suffix[1:].upper()
            with soundfile.SoundFile(source, "w", sample_rate, 1, subtype, format=kind) as file:
                if comment:
                    # Names of files need not be text.
                    file.comment = comment.encode(errors="replace").decode()
                file.write(fitted.waveform)
    except (OSError, soundfile.SoundFileError) as error:
        raise unwritable(path, error) from error
    return fitted


def has_comment(path: Path, start: str) -> bool:
    """Whether a file is a sound file whose comment begins with some text; False if it cannot be read."""
    try:
        with soundfile.SoundFile(_by_name(path)) as file:
            comment: str = file.comment
    except (OSError, RuntimeError, ValueError):
        return False
    return comment.startswith(start)


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read from its start to its end and never sought in.

    A seekable one seeks after every block to where it already is, which fails for a FLAC file whose header does not
    know the length, such as one that was written to a pipe.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(path: Path, kind: type[soundfile.SoundFile] = soundfile.SoundFile) -> Iterator[soundfile.SoundFile]:
    """Open a sound file of any name; one that a writer left without its length, as if that stood in its header."""
    closed = as_closed(path)
    if closed is None:
        with kind(_by_name(path)) as file:
            yield file
    else:
        with closed, kind(closed) as file:
            yield file


def _by_name(path: Path, flags: int = os.O_RDONLY) -> Path | int:
    """A path for soundfile, which wants UTF-8, and libsndfile, which wants a short one; else the opened file."""
    try:
        if len(str(path).encode()) < _LONGEST_PATH:
            return path
    except UnicodeEncodeError:
        pass
    return os.open(path, flags)


def _blocks(path: Path, sample_rate: int, mixdown: Mixdown) -> Iterator[NDArray[np.float32]]:
    _refuse_empty(path)
    fault = _NO_SOUND_FILE
    try:
        with _opened(path, _Stream) as file:
            fault = "damaged or truncated"
            _refuse_truncated(path, file)
            mixdown.start(path, file)
            stream = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32")
            n_read = 0
            while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                n_read += len(block)
                _refuse_not_numbers(path, block)
                yield stream.resample_chunk(mixdown(block))
            if n_read < file.frames < _UNKNOWN_FRAMES:
                raise InputError(f"{path}: truncated: {n_read} of {file.frames} samples are there; copy it again")
            yield stream.resample_chunk(np.empty(0, np.float32), last=True)
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, fault, error) from error


def _unreadable(path: Path, fault: str, error: Exception) -> InputError:
    """What to raise for a file whose decoder raised an error."""
    if fault == _NO_SOUND_FILE and path.is_file() and not is_of_disk(error):
        if holds_tags_only(path):
            return InputError(f"{path}: it holds no sound, only tags; copy it again")
        if path.suffix.lower() in UNREAD_SUFFIXES:
            command = f"ffmpeg -i {shlex.quote(str(path))} {shlex.quote(str(path.with_suffix('.wav')))}"
            return InputError(f"{path}: {path.suffix} files are not read; convert it first: {command}")
    why = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    if path.is_file() and "not a regular file" in why:
        # libsndfile's words for an mp3 without sound.
        why = "Format not recognised."
    return unreadable(path, error, f"{path}: {fault} ({why})")


def _refuse_not_numbers(path: Path, block: NDArray[np.float32]) -> None:
    # What is far beyond full scale overflows when channels are added.
    if not (np.abs(block) < _LOUDEST).all():
        raise InputError(f"{path}: holds samples that are not numbers (NaN or infinite); export it again")


def _refuse_empty(path: Path) -> None:
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as sound ({error})") from error


def _refuse_truncated(path: Path, file: soundfile.SoundFile) -> None:
    # libsndfile mends the sizes of truncated files in silence, but says so in its log.
    log = file.extra_info
    for claimed, found in _MENDED_SIZE.findall(log):
        if int(found) < int(claimed) < _UNKNOWN_SIZE:
            raise InputError(f"{path}: truncated: {found} of {claimed} bytes are there; copy it again")
    if "lacks an end-of-stream bit" in log or (file.format == "OGG" and _ends_in_a_page(path)):
        raise InputError(f"{path}: truncated: the stream has no end; copy it again")


def _ends_in_a_page(path: Path) -> bool:
    """Whether an Ogg file ends before its last page does (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _OGG_PAGE_MAX))
        tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0:
        return False
    page = tail[start:]
    if len(page) < _OGG_PAGE_HEADER:
        return True
    n_segments = page[_OGG_PAGE_HEADER - 1]
    return len(page) < _OGG_PAGE_HEADER + n_segments + sum(page[_OGG_PAGE_HEADER:][:n_segments])
