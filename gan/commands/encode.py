"""`gan encode`: recordings to spectrogram images."""

import sys
from collections.abc import Sequence
from pathlib import Path

from gan.backend import Backend, NameOrThreads
from gan.commands.parser import parser_of
from gan.sound.channel import MIX, Channel
from gan.sound.settings import Bits, SpectrogramSettings, Window


def encode(
    recordings: Path,
    images: Path,
    sample_rate: int = 22050,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Window = "hann",
    floor_db: float = -120.0,
    bits: Bits = 16,
    window_seconds: float = 60.0,
    step_seconds: float | None = None,
    channel: Channel = MIX,
    n_jobs: int = -1,
    backend: NameOrThreads = "threading",
    scheduler: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write spectrogram images of recordings: one 16-bit greyscale PNG for every 60 s, settings inside.

    Images that are there already are kept: a job that was stopped goes on where it was.

    Args:
        recordings: A sound file (wav, flac, ogg, opus, mp3, aiff, ...) or a folder tree of them. Linked folders are
            followed, hidden ones are left out.
        images: Folder to write the images to.
        sample_rate: Rate the sound is resampled to, in Hz.
        n_fft: Length of a Fourier transform in samples: n_fft // 2 + 1 frequencies.
        hop_length: Samples from one frame to the next; a quarter of the window if not given.
        win_length: Length of the window in samples; n_fft if not given.
        window: Shape of the window.
        floor_db: Lowest level kept, in dB below an image's loudest cell.
        bits: Bits per pixel.
        window_seconds: Length of an image. The last one ends at the recording's end.
        step_seconds: From the start of one image to the next; window_seconds if not given.
        channel: Which channel is encoded: mix (the mean of one or two, the mean of ITU-R BS.775's stereo mix of 5.1),
            left, right, or its number, from 1.
        n_jobs: Recordings encoded at a time; -1 for one per core.
        backend: Where recordings are encoded: threading (in this process), loky (processes of this machine), or dask
            or ray (a cluster, which must see recordings and images at the same paths).
        scheduler: Address of Dask's scheduler (tcp://HOST:8786) or Ray's head (HOST:6379); what their own settings say
            if not given (DASK_SCHEDULER_ADDRESS, RAY_ADDRESS).
        overwrite: Replace files that `gan encode` did not make.

    Returns:
        Exit code: 1 if a recording was skipped.
    """
    from gan.sound.encoder import encode_recordings
    from gan.sound.recording import describe_unread_recordings

    settings = SpectrogramSettings.like_librosa(
        n_fft, hop_length, win_length, sample_rate=sample_rate, window=window, floor_db=floor_db, bits=bits
    )
    elsewhere = Backend.named(backend, scheduler, n_jobs)
    report = encode_recordings(
        recordings, images, settings, window_seconds, step_seconds, n_jobs, elsewhere, overwrite, channel
    )
    print(
        f"{report.n_recordings} recordings are {report.n_written + report.n_kept} images in {images}"
        + (f" ({report.n_kept} were there already)" if report.n_kept else "")
    )
    for line in report.notes:
        print(line, file=sys.stderr)
    if unread := describe_unread_recordings(recordings):
        print(unread, file=sys.stderr)
    for line in report.skipped:
        print(f"skipped {line}", file=sys.stderr)
    if report.skipped:
        print(f"{len(report.skipped)} recordings were skipped", file=sys.stderr)
    return 1 if report.skipped else 0


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan encode` and run it."""
    parser = parser_of(encode)
    parser.add_argument("--overwrite", action="store_true", help="Replace files that `gan encode` did not make.")
    parser.add_function_arguments(encode, as_positional=True, skip={"overwrite"})
    given = parser.parse_args(list(arguments))
    return encode(**given.as_dict())
