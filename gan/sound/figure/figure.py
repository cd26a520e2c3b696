"""A spectrogram as it was read from a picture that somebody else drew."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.options import FigureOptions, YAxis
from gan.sound.settings import MelBands, SpectrogramSettings

if TYPE_CHECKING:
    # Not at run time: reading a thousand figures, in several processes, needs no torch.
    from torch import Tensor

    from gan.sound.codec import Codes

# A picture shows no absolute level. This one, of the brightest colour, makes a steady tone of it peak at -12 dBFS.
_TONE_PEAK = 10 ** (-12 / 20)


@dataclass(frozen=True)
class Finding:
    """One thing that was found out about a picture.

    Attributes:
        name: What, e.g. "n_fft"; the name of its option where there is one.
        value: As people read it.
        confidence: 1 for certain, 0 for a guess; None where it was given or is a default that no picture shows.
        how: Where it comes from, e.g. "1025 rows of 19.5 px".
    """

    name: str
    value: str
    confidence: float | None
    how: str


@dataclass
class Notes:
    """What is found out about a picture while it is read.

    Attributes:
        path: The picture, for messages.
        findings: In the order in which they were made.
        warnings: One line each.
    """

    path: Path
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def found(self, name: str, value: str, confidence: float | None, how: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(name, value, None if confidence is None else round(confidence, 2), how))


@dataclass(frozen=True)
class Layout:
    """Where the cells lie in the picture, in pixels from its upper left corner.

    Attributes:
        box: Left, top, right, bottom of the axes, right and bottom exclusive.
        row_edges: Shape (n_rows + 1,), descending: the bottom of the lowest frequency first.
        column_edges: Shape (n_frames + 1,), ascending.
    """

    box: tuple[int, int, int, int]
    row_edges: NDArray[np.float64]
    column_edges: NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A spectrogram as it was read from a picture.

    Attributes:
        path: The file.
        settings: The grid; `floor_db` is the lowest level that the picture can show.
        relative_db: Shape (n_freqs, n_frames), or (n_mels, n_frames) where `mel` is set; dB, 0 is the brightest colour.
        mel: The bands of a mel picture; None for a linear spectrogram.
        findings: What was found and how.
        warnings: What the reader should look at, one line each.
        layout: Where the cells lie; None for arrays of one number a cell.
        level_db: Level of relative 0 dB, if the file knows it (0 dB is a magnitude of 1); None if it is lost.
        top_db: The highest relative level that the picture can show: the middle of its highest colour.
    """

    path: Path
    settings: SpectrogramSettings
    relative_db: NDArray[np.float32]
    mel: MelBands | None
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    layout: Layout | None = None
    level_db: float | None = None
    top_db: float = 0.0

    def magnitude(self) -> "Tensor":
        """Linear amplitude, shape (n_freqs, n_frames); the loudest colour is at `assumed_level_db` if unknown."""
        import torch

        from gan.sound.mel import magnitude_from_mel
        from gan.sound.spectrogram import magnitude_from_db

        level_db = torch.from_numpy(self.relative_db) + self.white_db
        if self.mel is None:
            return magnitude_from_db(level_db)
        return magnitude_from_mel(magnitude_from_db(level_db), self.mel, self.settings)

    @property
    def white_db(self) -> float:
        """Level of the brightest colour in dB; by convention where the picture does not say."""
        return assumed_level_db(self.settings) if self.level_db is None else self.level_db

    def codes(self) -> "tuple[Codes, float]":
        """Quantised as in an image file with `settings`, shape (n_freqs, n_frames), and the level of white in dB."""
        if self.mel is not None:
            from gan.sound.codec import codes_from_magnitude

            codes, level_db = codes_from_magnitude(self.magnitude(), self.settings)
            return codes, self.white_db if level_db is None else level_db
        top = 2**self.settings.bits - 1
        codes = np.rint((1.0 - (self.relative_db - self.top_db) / self.settings.floor_db) * top).clip(0, top)
        return codes.astype(np.uint16 if self.settings.bits == 16 else np.uint8), self.white_db + self.top_db

    def table(self) -> str:
        """What was found, a line each: name, value, confidence and how."""
        return findings_table(self.findings)

    def as_options(self, options: FigureOptions) -> FigureOptions:
        """Options that say what was found here, for pictures of the same kind that show less."""
        found = {finding.name: finding.value for finding in self.findings}
        y_axis = cast(YAxis | None, found.get("y_axis", options.y_axis))
        layout = self.layout
        return dataclasses.replace(
            options,
            n_fft=self.settings.n_fft,
            hop_length=self.settings.hop_length,
            seconds=self.settings.n_samples(self.relative_db.shape[1]) / self.settings.sample_rate,
            y_axis=y_axis,
            n_mels=None if self.mel is None else self.mel.n_mels,
            colormap=found.get("colormap", options.colormap),
            box=options.box if layout is None else layout.box,
        )


def findings_table(findings: Iterable[Finding]) -> str:
    """Findings in columns, with a line of titles; empty without any."""
    rows = [
        (finding.name, finding.value, "" if finding.confidence is None else f"{finding.confidence:.2f}", finding.how)
        for finding in findings
    ]
    if not rows:
        return ""
    rows.insert(0, ("found", "value", "confidence", "how"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def assumed_level_db(settings: SpectrogramSettings) -> float:
    """Level in dB of a cell that a steady tone of -12 dBFS fills."""
    # Half the sum of a window whose mean is about a half.
    return float(20 * np.log10(_TONE_PEAK * settings.win_length / 4))
