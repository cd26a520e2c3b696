"""Limits of a spectrogram's axes, as given or as the numbers beside them say."""

import math
from dataclasses import dataclass

from gan.errors import InputError
from gan.sound.figure.axis_scale import AxisScale, read_axis_scale
from gan.sound.figure.box import Box
from gan.sound.figure.figure import Notes
from gan.sound.figure.grid import Grid
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import Pixels
from gan.sound.figure.rows import USUAL_ROWS, range_of

_MIN_CONFIDENCE = 0.8
# No axis in Hz ends as low: these are kHz.
_MIN_TOP_HZ = 100.0
_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)
# Relative: ends of axes are read from labels, and counts are off by half a row.
_NEAR = 0.02
# Cells are numbered from -0.5 on, by matplotlib's imshow.
_FIRST_EDGE = -0.5
_MAX_EDGE_ERROR = 0.1


@dataclass(frozen=True)
class Extent:
    """The frequencies at the two ends of an axis in Hz, and where they are known from."""

    low: float
    high: float
    origin: str

    @property
    def is_given(self) -> bool:
        """Whether the user says so."""
        return self.origin == "given"


def given_extent(options: FigureOptions) -> Extent | None:
    """The ends of a frequency axis that are given; None if they are those of the whole range.

    Raises:
        InputError: If the lower one is not below the upper one.
    """
    low, high = range_of(options)
    if low >= high:
        raise InputError(f"min_hz is {low:g} and max_hz {high:g}; the first must be the lower one")
    return None if options.min_hz is None and options.max_hz is None else Extent(low, high, "given")


def labelled_extent(pixels: Pixels, box: Box) -> Extent | None:
    """The ends of a linear frequency axis, from its labels; None if they do not say them in Hz."""
    scale = _scale(pixels, box, vertical=True)
    return None if scale is None or scale.high < _MIN_TOP_HZ else Extent(max(0.0, scale.low), scale.high, "labels")


def labelled_seconds(pixels: Pixels, box: Box) -> float | None:
    """The length of a time axis, from its labels; None if they do not say it. They may be in other units."""
    scale = _scale(pixels, box, vertical=False)
    return None if scale is None else scale.high - scale.low


def _scale(pixels: Pixels, box: Box, vertical: bool) -> AxisScale | None:
    if box.inside == (0, 0, pixels.width, pixels.height):
        return None
    scale = read_axis_scale(pixels, box, vertical)
    if scale is None or scale.low >= scale.high or scale.confidence < _MIN_CONFIDENCE:
        return None
    is_numbered = abs(scale.low - _FIRST_EDGE) < _MAX_EDGE_ERROR and abs(scale.high % 1 - 0.5) < _MAX_EDGE_ERROR
    return None if is_numbered else scale


def labelled_rows(up: Grid | None, extent: Extent | None, options: FigureOptions, notes: Notes) -> Extent | None:
    """Check what labels say with the rows of an STFT that were counted.

    Args:
        up: The rows; None if they are too thin to be counted.
        extent: The ends of the axis, given or from labels.
        options: What is known.
        notes: Warned if the labels speak of another sample rate.

    Returns:
        The ends; None if the axis shows everything, or its labels are no frequencies in Hz.
    """
    if extent is None or extent.is_given:
        return extent
    nyquist = options.sample_rate / 2
    ratio = extent.high / nyquist
    is_whole = up is not None and up.ends != "cut" and _is_all(up.n, options.n_fft)
    if abs(ratio - 1) < _NEAR and extent.low < _NEAR * nyquist:
        return None
    rate = min(_SAMPLE_RATES, key=lambda rate: abs(rate - 2 * extent.high))
    is_rate = abs(rate / (2 * extent.high) - 1) < _NEAR
    said = f"its frequency axis ends at {extent.high:.0f} Hz, half of a sample rate of {rate} Hz"
    if is_whole or ratio > 1:
        if is_rate:
            notes.warnings.append(f"{said} and not of {options.sample_rate}; give --sample_rate {rate}")
        return None
    if up is None:
        if is_rate:
            notes.warnings.append(
                f"{said}: if that is the sound's, give --sample_rate {rate}; it is read as the lower part of one of "
                f"{options.sample_rate} Hz"
            )
        return extent
    exact = options.sample_rate * up.shown / (extent.high - extent.low)
    n_fft = options.n_fft or likely_n_fft(exact)
    fits = abs(n_fft / exact - 1) < _NEAR and (options.n_fft is not None or n_fft & (n_fft - 1) == 0)
    return extent if fits else None


def _is_all(n_rows: int, n_fft: int | None) -> bool:
    """Whether these are all frequencies of a transform."""
    return n_rows in USUAL_ROWS if n_fft is None else abs(n_rows - n_fft // 2 - 1) <= 1


def likely_n_fft(exact: float) -> int:
    """The length of a transform that is nearest to an estimate: a power of two or a round number if one is near."""
    power = 2 ** round(math.log2(exact))
    if abs(power / exact - 1) < _NEAR:
        return int(power)
    return next(
        (
            step * round(exact / step)
            for step in (100, 64, 10)
            if abs(step * round(exact / step) / exact - 1) < _NEAR / 2
        ),
        2 * round(exact / 2),
    )
