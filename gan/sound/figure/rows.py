"""Which frequencies the rows of a drawn spectrogram are."""

import dataclasses

from gan.errors import InputError
from gan.sound.figure.axis import log_edges, mel_edges
from gan.sound.figure.figure import Notes
from gan.sound.figure.grid import (
    MIN_CONFIDENCE,
    Ends,
    Grid,
    Side,
    assumed,
    even_edges,
    find_even_grid,
    find_grid,
    fit,
    is_found,
)
from gan.sound.figure.options import FigureOptions, YAxis
from gan.sound.figure.transforms import refuse_other_transforms
from gan.sound.settings import MelBands

# What the figures of librosa's examples are made with, where a picture does not show it.
_N_FFT = 2048
_LOG_N_FFTS = (256, 512, 1024, 2048, 4096, 8192)
_USUAL_ROWS = (65, 129, 257, 513, 1025, 2049, 4097)
_ENDS: tuple[Ends, Ends] = ("whole", "clipped")
# Part of the best correlation from which on a grid fits about as well.
_AS_WELL = 0.9
_MELS = range(16, 513)
# Rows of a power of two, or of these, are mel bands; an STFT has one more than a power of two.
_USUAL_MELS = {40, 60, 64, 80, 96, 100, 120, 128, 160, 192, 224, 229, 256, 512}


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
    if even is None or even.correlation <= 0:
        return even
    least = _AS_WELL * even.correlation
    usual = [fit(side, even_edges(n, end), end) for n in _USUAL_ROWS for end in _ENDS]
    best = max(usual, key=lambda grid: grid.correlation)
    return best if best.correlation >= least and is_found(best) else even


def _find_uneven_rows(side: Side, options: FigureOptions) -> dict[YAxis, Grid]:
    rows = [(n // 2 + 1, end) for n in ([options.n_fft] if options.n_fft else _LOG_N_FFTS) for end in _ENDS]
    bands = [(n, end) for n in ([options.n_mels] if options.n_mels else _MELS) for end in _ENDS]
    grids: dict[YAxis, Grid | None] = {
        "log": find_grid(side, rows, log_edges(options.sample_rate)),
        "mel": find_grid(side, bands, mel_edges(_max_hz(options))),
    }
    return {y_axis: grid for y_axis, grid in grids.items() if is_found(grid)}


def _max_hz(options: FigureOptions) -> float:
    return options.max_hz or options.sample_rate / 2


def frequencies(
    side: Side, y_axis: YAxis, up: Grid | None, zero: float | None, options: FigureOptions, notes: Notes
) -> tuple[Grid, int, MelBands | None]:
    """Work out which frequencies the rows are.

    Args:
        side: The vertical axis, from the bottom up.
        y_axis: What `find_rows` found.
        up: The rows that it found.
        zero: Where a linear axis has 0 Hz, in pixels from the top, if that is known better than from the box.
        options: What is known.
        notes: Told what was found.

    Returns:
        The rows, n_fft and the mel bands, if it is a mel axis.

    Raises:
        InputError: If what is found is unlikely or contradicts what is given.
    """
    if y_axis == "mel":
        return _mel_bands(side, up, options, notes)
    if up is None:
        n_fft = options.n_fft or _N_FFT
        edges = even_edges if y_axis == "linear" else log_edges(options.sample_rate)
        n_rows = n_fft // 2 + 1
        if zero is not None:
            # The lowest row's middle is 0 Hz.
            side = dataclasses.replace(side, low=zero + (side.low - side.high) / n_rows / 2)
        rows = assumed(side, edges(n_rows, "whole"))
        from_ticks = "" if zero is None else f"; its lowest tick is at {zero:.1f} px"
        notes.found("y_axis", y_axis, None, f"{'given' if options.y_axis else 'usual'}{from_ticks}")
        origin = "given" if options.n_fft else "usual"
        notes.found("n_fft", str(n_fft), None, f"{origin}; rows of {rows.cell:.2f} px cannot be counted")
        return rows, n_fft, None
    if y_axis == "linear" and options.y_axis is None:
        refuse_other_transforms(notes.path, up.n)
    notes.found("y_axis", y_axis, up.confidence, f"{up.n} rows of {up.cell:.2f} px, the outer ones {up.ends}")
    if options.n_fft is not None:
        n_freqs = options.n_fft // 2 + 1
        if up.n > n_freqs:
            raise InputError(
                f"{notes.path}: shows {up.n} rows, but n_fft {options.n_fft} has {n_freqs}; leave --n_fft out"
            )
        if up.n < n_freqs:
            notes.warnings.append(f"shows {up.n} of {n_freqs} frequencies; those above are taken for silent")
        notes.found("n_fft", str(options.n_fft), None, "given")
        return up, options.n_fft, None
    return up, _n_fft(up, y_axis, options, notes), None


def _mel_bands(side: Side, up: Grid | None, options: FigureOptions, notes: Notes) -> tuple[Grid, int, MelBands]:
    n_mels = up.n if up else options.n_mels
    if n_mels is None:
        raise InputError(f"{notes.path}: its mel bands are too thin to be counted; give --n_mels, e.g. 128")
    max_hz = _max_hz(options)
    rows = up or assumed(side, mel_edges(max_hz)(n_mels, "whole"))
    notes.found("y_axis", "mel", up.confidence if up else None, f"{n_mels} bands of {rows.cell:.2f} px")
    origin = "given" if options.n_fft else "no mel picture shows it"
    notes.found("n_fft", str(options.n_fft or _N_FFT), None, origin)
    return rows, options.n_fft or _N_FFT, MelBands(n_mels, 0.0, max_hz)


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
