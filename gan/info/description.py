"""What there is to say of a file or a folder."""

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from gan.errors import one_line
from gan.sound.settings import SpectrogramSettings

_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass
class Description:
    """What a file or a folder is.

    Attributes:
        path: As it was given.
        kind: What it is.
        facts: Names and what they are, in the order in which they are read.
    """

    path: Path
    kind: str
    facts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, *texts: str) -> None:
        """Add a fact, if there is anything to say; several texts are lines of one."""
        self.facts += [(name if number == 0 else "", text) for number, text in enumerate(texts) if text]

    def __str__(self) -> str:
        """The path and the kind, and below a line a fact, indented."""
        width = max((len(name) for name, _ in self.facts), default=0)
        lines = [f"  {f'{name}:' if name else '':{width + 1}}  {text}" for name, text in self.facts]
        # Names and texts of files are anybody's, and a terminal obeys some letters.
        return "\n".join(map(one_line, [f"{self.path}: {self.kind}", *lines]))


def grid(settings: SpectrogramSettings) -> str:
    """The settings of a spectrogram in a line."""
    bits = f"{-settings.floor_db:.4g} dB in {settings.bits} bits"
    length = "" if settings.win_length == settings.n_fft else f" of {settings.win_length}"
    window = f"{settings.window} window{length}"
    return f"{settings.sample_rate} Hz, n_fft {settings.n_fft}, hop {settings.hop_length}, {window}, {bits}"


def n_bytes(number: int) -> str:
    """A number of bytes: 312 B, 86.2 MB."""
    power = 0 if number < 1 else min(len(_UNITS) - 1, int(math.log10(number)) // 3)
    return f"{number} B" if power == 0 else f"{number / 1000**power:.3g} {_UNITS[power]}"


def duration(seconds: float) -> str:
    """A length of time: 1.02 s, 12.5 min, 21.7 h."""
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def count(number: int, name: str) -> str:
    """A number of things: 1 image, 1,300 images."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def command(*words: object) -> str:
    """A command to be copied."""
    return shlex.join(map(str, words))
