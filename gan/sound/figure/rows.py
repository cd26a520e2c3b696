"""Which frequencies the rows of a drawn spectrogram are."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from gan.errors import InputError
from gan.sound.figure.axis import log_edges, mel_edges, scaled
from gan.sound.figure.even import find_even_grid, find_smooth_cells
from gan.sound.figure.figure import Notes
from gan.sound.figure.grid import (
    MIN_CONFIDENCE,
    MIN_SMOOTHNESS,
    Ends,
    Grid,
    Side,
    assumed,
    even_edges,
    find_grid,
    fit,
    is_found,
)
from gan.sound.figure.options import FigureOptions, YAxis
from gan.sound.settings import MelBands

# What the figures of librosa's examples are made with, where a picture does not show it.
_N_FFT = 2048
_LOG_N_FFTS = (256, 512, 1024, 2048, 4096, 8192)
_USUAL_ROWS = (65, 129, 257, 513, 1025, 2049, 4097)
_ENDS: tuple[Ends, Ends] = ("whole", "clipped")
# Part of the best correlation from which on a grid fits about as well.
_AS_WELL = 0.9
_MELS = range(16, 513)
# Any picture's rows fit some number of bands by half.
_SURE_OF_MEL = 0.9
# In parts of a row.
_MAX_PART_ERROR = 0.2
_MAX_ROW_ERROR = 0.3
# Relative: ends of axes are read from ticks, and counts are off by half a row.
_NEAR = 0.02
# Rows of a power of two, or of these, are mel bands; an STFT has one more than a power of two.
_USUAL_MELS = {40, 60, 64, 80, 96, 100, 120, 128, 160, 192, 224, 229, 256, 512}


@dataclass(frozen=True)
class Extent:
    """The frequencies at the two ends of an axis in Hz, and where they are known from."""

    low: float
    high: float
    origin: str


@dataclass(frozen=True)
class FrequencyAxis:
    """The rows of a figure and what they are.

    Attributes:
        rows: The rows, the lowest frequency first.
        n_fft: Length of a transform in samples.
        bands: The mel bands; None for the frequencies of an STFT.
        lowest: Which frequency of the STFT the first row is.
    """

    rows: Grid
    n_fft: int
    bands: MelBands | None = None
    lowest: int = 0


def given_extent(options: FigureOptions) -> Extent | None:
    """The ends of a frequency axis that are given; None if they are those of the whole range.

    Raises:
        InputError: If the lower one is not below the upper one.
    """
    low, high = _range_of(options)
    if low >= high:
        raise InputError(f"min_hz is {low:g} and max_hz {high:g}; the first must be the lower one")
    return None if options.min_hz is None and options.max_hz is None else Extent(low, high, "given")


def find_rows(side: Side, options: FigureOptions, notes: Notes) -> tuple[YAxis, Grid | None]:
    """Find the frequency axis that explains a picture's rows best.

    Args:
        side: The vertical axis, from the bottom up.
        options: What is known.
        notes: Warned if the rows speak against what is given.

    Returns:
        The axis and its rows; None if they are too thin to be counted.
    """
    given = options.y_axis
    found: dict[YAxis, Grid] = {}
    even = _usual(side, find_even_grid(side))
    if even is not None and even.smooth and even.n not in _n_usual(options):
        even = None
    if is_found(even):
        found["linear"] = even
    if given == "linear" or not (is_found(even) and even.confidence > 0.9 and even.correlation > 0.7):
        # Whatever repeats evenly, be it a JPEG's blocks, is no other axis if that explains it less.
        least = 0.0 if even is None else even.correlation
        uneven = _find_uneven_rows(side, options)
        found |= {y_axis: grid for y_axis, grid in uneven.items() if grid.correlation > least}
    # Mel bands are often drawn as equal rows; an STFT has one row more than a power of two.
    evenly_drawn = given == "mel" and "mel" not in found and is_found(even) and (even.n - 1) & (even.n - 2) != 0
    if given == "mel" and "linear" in found:
        found.setdefault("mel", found["linear"])
    best = max(found, key=lambda y_axis: found[y_axis].correlation, default=given or "linear")
    if given is not None and best in found and best != given and not (evenly_drawn and best == "linear"):
        notes.warnings.append(
            f"its rows look like a {best} axis ({found[best].n} rows) and not like the {given} one that was given"
        )
    y_axis = given or best
    return y_axis, found.get(y_axis)


def _usual(side: Side, even: Grid | None) -> Grid | None:
    """The usual number of rows if it fits about as well: where most rows are silent, many numbers do."""
    if even is None or even.smooth or even.correlation <= 0:
        return even
    least = _AS_WELL * even.correlation
    usual = [fit(side, even_edges(n, end), end) for n in _USUAL_ROWS for end in _ENDS]
    best = max(usual, key=lambda grid: grid.correlation)
    return best if best.correlation >= least and is_found(best) else even


def _n_usual(options: FigureOptions) -> tuple[int, ...]:
    """Numbers of rows that smooth cells may have to be counted: others are those of a resized picture's pixels."""
    return _USUAL_ROWS if options.n_fft is None else (options.n_fft // 2 + 1,)


def _find_uneven_rows(side: Side, options: FigureOptions) -> dict[YAxis, Grid]:
    rows = [(n // 2 + 1, end) for n in ([options.n_fft] if options.n_fft else _LOG_N_FFTS) for end in _ENDS]
    bands = [(n, end) for n in ([options.n_mels] if options.n_mels else _MELS) for end in _ENDS]
    grids: dict[YAxis, Grid | None] = {
        "log": find_grid(side, rows, log_edges(options.sample_rate)),
        "mel": find_grid(side, bands, mel_edges(*_range_of(options))),
    }
    return {y_axis: grid for y_axis, grid in grids.items() if is_found(grid)}


def _range_of(options: FigureOptions) -> tuple[float, float]:
    """The lowest and the highest frequency of a mel or log axis in Hz, as given or as usual."""
    return options.min_hz or 0.0, options.max_hz or options.sample_rate / 2


def frequencies(
    side: Side,
    y_axis: YAxis,
    up: Grid | None,
    zero: float | None,
    extent: Extent | None,
    options: FigureOptions,
    notes: Notes,
) -> FrequencyAxis:
    """Work out which frequencies the rows are.

    Args:
        side: The vertical axis, from the bottom up.
        y_axis: What `find_rows` found.
        up: The rows that it found.
        zero: Where a linear axis has 0 Hz, in pixels from the top, if that is known better than from the box.
        extent: Lowest and highest frequency of the axis, if they are known.
        options: What is known.
        notes: Told what was found.

    Raises:
        InputError: If what is found is unlikely or something has to be given.
    """
    if y_axis == "mel":
        return _mel_bands(side, up, options, notes)
    if up is None:
        return _assumed_rows(side, y_axis, zero, extent, options, notes)
    notes.found("y_axis", y_axis, up.confidence, f"{up.n} rows of {up.pitch:.2f} px, {_ends(up)}")
    if y_axis == "log":
        n_fft = options.n_fft or _n_fft(up, y_axis, options, notes)
        if options.n_fft:
            notes.found("n_fft", str(n_fft), None, "given")
        return FrequencyAxis(up, n_fft)
    return _linear_rows(side, up, extent, options, notes)


def _ends(rows: Grid) -> str:
    if rows.smooth:
        return "which run into each other"
    return f"the outer ones {rows.ends}"


def _linear_rows(side: Side, up: Grid, extent: Extent | None, options: FigureOptions, notes: Notes) -> FrequencyAxis:
    """Rows that were counted."""
    n_fft = options.n_fft
    if n_fft is not None:
        notes.found("n_fft", str(n_fft), None, "given")
    elif extent is not None:
        exact = options.sample_rate * up.shown / (extent.high - extent.low)
        n_fft = _likely_n_fft(exact)
        how = f"{up.shown:.1f} rows from {extent.low:.0f} to {extent.high:.0f} Hz ({extent.origin})"
        notes.found("n_fft", str(n_fft), up.confidence, how)
    elif up.ends == "cut":
        raise InputError(
            f"{notes.path}: shows {up.shown:.1f} rows, so its frequency axis was cut (set_ylim); give --max_hz, the "
            "frequency at its top, with --min_hz if it does not begin at 0, or --n_fft"
        )
    else:
        n_fft = _n_fft(up, "linear", options, notes)
    n_freqs = n_fft // 2 + 1
    lowest = _lowest_row(up, n_fft, extent, options, notes)
    if extent is None and up.n > n_freqs:
        # What is known wins over what is counted.
        notes.warnings.append(
            f"its rows look like the {up.n} of n_fft {2 * (up.n - 1)} and not like the {n_freqs} of n_fft {n_fft}, "
            "which was given"
        )
        return FrequencyAxis(assumed(side, even_edges(n_freqs, "whole")), n_fft)
    rows = _first_rows(up, n_freqs - lowest)
    shown = rows.n
    if shown < n_freqs:
        others = "those above" if lowest == 0 else "the others"
        notes.warnings.append(f"shows {shown} of {n_freqs} frequencies; {others} are taken for silent")
    return FrequencyAxis(rows, n_fft, lowest=lowest)


def _lowest_row(up: Grid, n_fft: int, extent: Extent | None, options: FigureOptions, notes: Notes) -> int:
    """Which frequency of the STFT the lowest row is."""
    if extent is None:
        # The axis begins at 0 Hz: at the middle of the lowest row (librosa), or at its edge (imshow).
        if up.ends == "cut" and min(abs(up.first - 0.5), abs(up.first - 1)) > _MAX_PART_ERROR:
            raise InputError(
                f"{notes.path}: its frequency axis does not begin at 0 Hz: {up.first:.2f} of the lowest row is seen; "
                "give --min_hz, the frequency at its bottom, and --max_hz, that at its top"
            )
        return 0
    spacing = options.sample_rate / n_fft
    edge = (extent.low - (1 - up.first) * (extent.high - extent.low) / up.shown) / spacing
    # Rows lie around their frequencies (librosa), or begin with them (imshow).
    lowest = round(edge + 0.5) if abs((edge + 0.5) - round(edge + 0.5)) < _MAX_ROW_ERROR else round(edge)
    return min(max(0, lowest), n_fft // 2)


def _first_rows(rows: Grid, n: int) -> Grid:
    return rows if rows.n <= n else dataclasses.replace(rows, n=n, edges=rows.edges[: n + 1])


def _likely_n_fft(exact: float) -> int:
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


def _assumed_rows(
    side: Side, y_axis: YAxis, zero: float | None, extent: Extent | None, options: FigureOptions, notes: Notes
) -> FrequencyAxis:
    """Rows that cannot be counted, on the grid that is given or usual."""
    n_fft = options.n_fft or _N_FFT
    n_rows = n_fft // 2 + 1
    from_ticks = ""
    origin = "given" if options.n_fft else "usual"
    if options.n_fft is None and side.smoothness > MIN_SMOOTHNESS:
        raise InputError(
            f"{notes.path}: its rows run into each other (an interpolated or resized picture) and cannot "
            "be counted; give --n_fft and, with it, --seconds"
        )
    if extent is not None:
        rows, lowest = _rows_between(side, y_axis, n_fft, extent, options)
        if rows.n < n_rows:
            others = "those above" if lowest == 0 else "the others"
            notes.warnings.append(f"shows {rows.n} of {n_rows} frequencies; {others} are taken for silent")
        from_ticks = f"; from {extent.low:.0f} to {extent.high:.0f} Hz ({extent.origin})"
    else:
        lowest = 0
        ends: Ends = "whole"
        if side.smoothness > MIN_SMOOTHNESS:
            smooth = find_smooth_cells(side)
            ends = "whole" if smooth is None else smooth.ends
        elif zero is not None:
            # The lowest row's middle is 0 Hz.
            side = dataclasses.replace(side, low=zero + (side.low - side.high) / n_rows / 2)
            from_ticks = f"; its lowest tick is at {zero:.1f} px"
        edges = even_edges if y_axis == "linear" else log_edges(options.sample_rate)
        rows = assumed(side, edges(n_rows, ends), ends)
    notes.found("y_axis", y_axis, None, f"{'given' if options.y_axis else 'usual'}{from_ticks}")
    how = "which run into each other" if rows.smooth else "cannot be counted"
    notes.found("n_fft", str(n_fft), None, f"{origin}; rows of {rows.cell:.2f} px {how}")
    return FrequencyAxis(rows, n_fft, lowest=lowest)


def _rows_between(side: Side, y_axis: YAxis, n_fft: int, extent: Extent, options: FigureOptions) -> tuple[Grid, int]:
    """Rows of an STFT between two frequencies, and which of its frequencies is the lowest."""
    spacing = options.sample_rate / n_fft
    lowest = max(0, round(extent.low / spacing))
    highest = min(n_fft // 2, round(extent.high / spacing))
    hz = ((np.arange(lowest, highest + 2) - 0.5) * spacing).clip(extent.low, extent.high)
    edges = scaled(hz, extent.low, extent.high) if y_axis == "log" else (hz - extent.low) / (extent.high - extent.low)
    return assumed(side, edges, "cut"), lowest


def _mel_bands(side: Side, up: Grid | None, options: FigureOptions, notes: Notes) -> FrequencyAxis:
    n_mels = up.n if up else options.n_mels
    if n_mels is None:
        raise InputError(f"{notes.path}: its mel bands are too thin to be counted; give --n_mels, e.g. 128")
    min_hz, max_hz = _range_of(options)
    known = options.y_axis or options.n_mels or options.max_hz
    if up is not None and not known and n_mels not in _USUAL_MELS and up.confidence < _SURE_OF_MEL:
        raise InputError(
            f"{notes.path}: no usual axis explains its rows ({n_mels} mel bands come nearest, {up.confidence:.2f} of "
            "1); give --max_hz, the frequency at its top (and --min_hz, that at its bottom), or --y_axis"
        )
    rows = up or assumed(side, mel_edges(min_hz, max_hz)(n_mels, "whole"))
    notes.found("y_axis", "mel", up.confidence if up else None, f"{n_mels} bands of {rows.cell:.2f} px")
    origin = "given" if options.n_fft else "no mel picture shows it"
    notes.found("n_fft", str(options.n_fft or _N_FFT), None, origin)
    return FrequencyAxis(rows, options.n_fft or _N_FFT, MelBands(n_mels, min_hz, max_hz))


def _n_fft(up: Grid, y_axis: YAxis, options: FigureOptions, notes: Notes) -> int:
    n_fft = 2 * (up.n - 1)
    if up.n in _USUAL_MELS and y_axis == "linear" and options.y_axis is None:
        raise InputError(
            f"{notes.path}: its {up.n} equal rows look like mel bands; say --y_axis mel, or --n_fft {n_fft} if they "
            "are frequencies of an STFT"
        )
    # Lengths of transforms are powers of two, or round numbers.
    likely = 1.0 if n_fft & (n_fft - 1) == 0 else 0.6 if n_fft % 100 == 0 or n_fft % 64 == 0 else 0.2
    if likely * up.confidence < MIN_CONFIDENCE:
        raise InputError(
            f"{notes.path}: {up.n} rows were counted, which would be an n_fft of {n_fft} and is unlikely; give --n_fft "
            "(with a larger one the picture is taken to show its lowest frequencies), or --box if margins are in it"
        )
    notes.found("n_fft", str(n_fft), likely * up.confidence, f"2 x ({up.n} - 1)")
    return n_fft
