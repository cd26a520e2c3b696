"""What a recording or a folder of them is."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gan.errors import InputError
from gan.info.description import Description, command, count, duration, n_bytes
from gan.info.sample import evenly
from gan.sound.recording import RecordingHeader, read_recording_header


def describe_recording(path: Path) -> Description:
    """Describe a sound file.

    Raises:
        InputError: If it is none, empty or truncated.
    """
    header = read_recording_header(path)
    described = Description(path, f"recording, {header.kind}")
    length = "of unknown length" if header.n_samples is None else _seconds(header)
    described.add("sound", f"{length}, {header.sample_rate} Hz, {count(header.n_channels, 'channel')}")
    described.add("size", n_bytes(path.stat().st_size))
    described.add("comment", header.comment)
    described.add("next", command("gan", "encode", path, "data/spectrograms"))
    return described


def add_recordings(described: Description, paths: Sequence[Path]) -> None:
    """Add what there is to say of the sound files of a folder; of many, some are looked into."""
    looked_at = evenly(paths)
    headers, problems = [], []
    for path in looked_at:
        try:
            headers.append(read_recording_header(path, look_at_end=False))
        except InputError as error:
            problems.append(str(error))
    about = "" if len(looked_at) == len(paths) else "about "
    seconds = sum((header.n_samples or 0) / header.sample_rate for header in headers) * len(paths) / len(looked_at)
    size = sum(path.stat().st_size for path in paths)
    described.add("recordings", f"{count(len(paths), 'file')}, {about}{duration(seconds)}, {n_bytes(size)}")
    described.add("of", *(f"{n} {what}" for what, n in Counter(map(_format, headers)).most_common(4)))
    if problems:
        described.add("problems", f"{len(problems)} of {len(looked_at)} cannot be read; {problems[0]}")
    described.add("next", command("gan", "encode", described.path, "data/spectrograms"))


def _seconds(header: RecordingHeader) -> str:
    return duration((header.n_samples or 0) / header.sample_rate)


def _format(header: RecordingHeader) -> str:
    return f"{header.kind}, {header.sample_rate} Hz, {count(header.n_channels, 'channel')}"
