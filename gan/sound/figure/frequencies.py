"""Which frequencies the rows of a drawn spectrogram are."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from gan.errors import InputError
from gan.sound.figure.axis import log_edges, mel_edges, place_on_axis
from gan.sound.figure.even import smooth_ends
from gan.sound.figure.figure import Notes
from gan.sound.figure.grid import MIN_CONFIDENCE, MIN_SMOOTHNESS, Grid, Side, assumed, even_edges
from gan.sound.figure.limits import Extent, labelled_rows, likely_n_fft
from gan.sound.figure.options import FigureOptions, YAxis
from gan.sound.figure.rows import USUAL_ROWS, range_of
from gan.sound.figure.transforms import refuse_other_transforms
from gan.sound.settings import MelBands

# What the figures of librosa's examples are made with, where a picture does not show it.
_N_FFT = 2048
# Any picture's rows fit some number of bands by half.
_SURE_OF_MEL = 0.9
# In parts of a row.
_MAX_PART_ERROR = 0.2
_MAX_ROW_ERROR = 0.3
_MAX_ROWS_ERROR = 0.7
# Relative: ends of axes are read from ticks, and counts are off by half a row.
_NEAR = 0.02
# Rows of a power of two, or of these, are mel bands; an STFT has one more than a power of two.
_USUAL_MELS = {40, 60, 64, 80, 96, 100, 120, 128, 160, 192, 224, 229, 256, 512}


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
    if y_axis == "linear" and options.y_axis is None and up.ends != "cut" and not _is_given(up.n, options):
        refuse_other_transforms(notes.path, up.n)
    notes.found("y_axis", y_axis, up.confidence, f"{up.n} rows of {up.pitch:.2f} px, {_ends(up)}")
    if y_axis == "log":
        n_fft = options.n_fft or _n_fft(up, y_axis, options, notes)
        if options.n_fft:
            notes.found("n_fft", str(n_fft), None, "given")
        return FrequencyAxis(up, n_fft)
    return _linear_rows(side, up, extent, options, notes)


def _is_given(n_rows: int, options: FigureOptions) -> bool:
    return options.n_fft is not None and n_rows == options.n_fft // 2 + 1


def _ends(rows: Grid) -> str:
    if rows.smooth:
        return "which run into each other"
    return f"the outer ones {rows.ends}"


def _linear_rows(side: Side, up: Grid, extent: Extent | None, options: FigureOptions, notes: Notes) -> FrequencyAxis:
    """Rows that were counted."""
    extent = labelled_rows(up, extent, options, notes)
    n_fft = options.n_fft
    if n_fft is not None:
        notes.found("n_fft", str(n_fft), None, "given")
    elif extent is not None:
        exact = options.sample_rate * up.shown / (extent.high - extent.low)
        n_fft = likely_n_fft(exact)
        how = f"{up.shown:.1f} rows from {extent.low:.0f} to {extent.high:.0f} Hz ({extent.origin})"
        notes.found("n_fft", str(n_fft), up.confidence, how)
    elif up.ends == "cut" and not _is_uncut(side, up):
        raise InputError(
            f"{notes.path}: shows {up.shown:.1f} rows, so its frequency axis was cut (set_ylim); give --max_hz, the "
            "frequency at its top, with --min_hz if it does not begin at 0, or --n_fft"
        )
    else:
        n_fft = _n_fft(up, "linear", options, notes)
    n_freqs = n_fft // 2 + 1
    if extent is not None:
        lowest = _lowest_row(up, n_fft, extent, options, notes)
        rows, first = _rows_between(side, "linear", n_fft, extent, options)
        # What is known wins over what is counted, which may be a mirror image of it.
        if abs(rows.shown - up.shown) < _MAX_ROWS_ERROR:
            rows = up
        else:
            lowest = first
    elif up.n > n_freqs:
        notes.warnings.append(
            f"its rows look like the {up.n} of n_fft {2 * (up.n - 1)} and not like the {n_freqs} of n_fft {n_fft}, "
            "which was given"
        )
        rows, lowest = assumed(side, even_edges(n_freqs, "whole")), 0
    else:
        rows, lowest = up, _lowest_row(up, n_fft, None, options, notes)
    rows = _first_rows(rows, n_freqs - lowest)
    _warn_of_missing(rows.n, n_freqs, lowest, notes)
    return FrequencyAxis(rows, n_fft, lowest=lowest)


def _warn_of_missing(shown: int, n_freqs: int, lowest: int, notes: Notes) -> None:
    if shown < n_freqs:
        others = "those above" if lowest == 0 else "the others"
        notes.warnings.append(f"shows {shown} of {n_freqs} frequencies; {others} are taken for silent")


def _is_uncut(side: Side, up: Grid) -> bool:
    """Whether rows that end within cells are a usual number of which the outer ones are whole or halves."""
    error = _MAX_PART_ERROR / 2 + side.slack / up.pitch
    parts = (up.first, up.shown - (up.n - 2) - up.first)
    return up.n in USUAL_ROWS and all(min(abs(part - 0.5), abs(part - 1)) < error for part in parts)


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


def _assumed_rows(
    side: Side, y_axis: YAxis, zero: float | None, extent: Extent | None, options: FigureOptions, notes: Notes
) -> FrequencyAxis:
    """Rows that cannot be counted, on the grid that is given or usual."""
    n_fft = options.n_fft or _N_FFT
    n_rows = n_fft // 2 + 1
    extent = labelled_rows(None, extent, options, notes)
    from_ticks = ""
    origin = "given" if options.n_fft else "usual"
    if options.n_fft is None and side.smoothness > MIN_SMOOTHNESS:
        raise InputError(
            f"{notes.path}: its rows run into each other (an interpolated or resized picture) and cannot "
            "be counted; give --n_fft and, with it, --seconds"
        )
    if extent is not None:
        rows, lowest = _rows_between(side, y_axis, n_fft, extent, options)
        _warn_of_missing(rows.n, n_rows, lowest, notes)
        from_ticks = f"; from {extent.low:.0f} to {extent.high:.0f} Hz ({extent.origin})"
    else:
        lowest = 0
        if side.smoothness <= MIN_SMOOTHNESS and zero is not None:
            # The lowest row's middle is 0 Hz.
            side = dataclasses.replace(side, low=zero + (side.low - side.high) / n_rows / 2)
            from_ticks = f"; its lowest tick is at {zero:.1f} px"
        ends = smooth_ends(side, n_rows)
        edges = even_edges if y_axis == "linear" else log_edges(options.sample_rate)
        rows = assumed(side, edges(n_rows, ends), ends)
    notes.found("y_axis", y_axis, None, f"{'given' if options.y_axis else 'usual'}{from_ticks}")
    how = "which run into each other" if rows.smooth else "cannot be counted"
    notes.found("n_fft", str(n_fft), None, f"{origin}; rows of {rows.cell:.2f} px {how}")
    return FrequencyAxis(rows, n_fft, lowest=lowest)


def _rows_between(side: Side, y_axis: YAxis, n_fft: int, extent: Extent, options: FigureOptions) -> tuple[Grid, int]:
    """Rows of an STFT between two frequencies, and which of its frequencies is the lowest."""
    nyquist, n_rows = options.sample_rate / 2, n_fft // 2 + 1
    # Cells lie around their frequencies (librosa, pcolormesh); those of an image share the axis evenly.
    hz = (np.arange(n_rows + 1) - 0.5) * options.sample_rate / n_fft
    spacing = options.sample_rate / n_fft
    if side.smoothness > MIN_SMOOTHNESS and smooth_ends(side, (extent.high - extent.low) / spacing) == "whole":
        hz = np.linspace(0, nyquist, n_rows + 1)
    least = _MAX_ROW_ERROR / 2 * spacing
    shown = (hz[1:] > extent.low + least) & (hz[:-1] < extent.high - least)
    lowest, highest = int(np.argmax(shown)), n_rows - 1 - int(np.argmax(shown[::-1]))
    hz = hz[lowest : highest + 2].clip(extent.low, extent.high)
    low, high = place_on_axis(np.array([extent.low, extent.high]), y_axis)
    rows = assumed(side, (place_on_axis(hz, y_axis) - low) / (high - low), "cut")
    # Outer cells of a few rows would count in a median.
    pitch = abs(side.high - side.low) * spacing / (extent.high - extent.low)
    return (dataclasses.replace(rows, pitch=pitch) if y_axis == "linear" else rows), lowest


def _mel_bands(side: Side, up: Grid | None, options: FigureOptions, notes: Notes) -> FrequencyAxis:
    n_mels = up.n if up else options.n_mels
    if n_mels is None:
        raise InputError(f"{notes.path}: its mel bands are too thin to be counted; give --n_mels, e.g. 128")
    min_hz, max_hz = range_of(options)
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
            "(with a larger one the picture is taken to show its lowest frequencies), --max_hz, the frequency at its "
            "top, if the axis was cut (and --min_hz, that at its bottom), or --box if margins are in it"
        )
    notes.found("n_fft", str(n_fft), likely * up.confidence, f"2 x ({up.n} - 1)")
    return n_fft
