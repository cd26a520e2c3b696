"""Reads a spectrogram that was drawn as a mesh of cells, as matplotlib and librosa do."""

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure.box import Box, find_box, given_box
from gan.sound.figure.cells import between, between_columns, cell_means
from gan.sound.figure.colormap import identify
from gan.sound.figure.columns import check_length, find_columns
from gan.sound.figure.even import find_even_grid
from gan.sound.figure.figure import Figure, Layout, Notes
from gan.sound.figure.frequencies import frequencies
from gan.sound.figure.grid import MIN_SMOOTHNESS, Grid, Side, changes_along, is_found
from gan.sound.figure.levels import levels_of
from gan.sound.figure.limits import given_extent, labelled_extent, labelled_seconds
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import Pixels
from gan.sound.figure.rows import find_rows
from gan.sound.figure.shade import find_colormap, upright, values_of
from gan.sound.figure.ticks import lowest_tick
from gan.sound.settings import SpectrogramSettings

# Pixels from which colours are identified.
_N_SAMPLES = 20_000


def read_drawn(pixels: Pixels, lossy: bool, options: FigureOptions, notes: Notes) -> Figure | None:
    """Find the box, the grid and the colours of a drawn spectrogram, and read its cells.

    Args:
        pixels: The picture; closed when its cells have been read.
        lossy: Whether it is a JPEG or another format that changes pixels.
        options: What is known.
        notes: Told what was found.

    Returns:
        The figure; None if its pixels seem to be the cells themselves.

    Raises:
        InputError: If it shows no spectrogram or something has to be given.
    """
    notes.found("picture", f"{pixels.width} x {pixels.height}", None, "grey" if pixels.grey else "in colour")
    box = given_box(pixels, options.box, notes.path) if options.box else find_box(pixels, notes.path)
    notes.found("box", " ".join(map(str, box.inside)), box.confidence, box.how)
    horizontal, vertical = (_side(pixels, box, lossy, vertical) for vertical in (False, True))
    across = find_even_grid(horizontal)
    if not is_found(across) and _may_be_array(pixels, box, lossy, options):
        return None
    extent = given_extent(options) or labelled_extent(pixels, box)
    y_axis, up = find_rows(vertical, options, notes)
    sample = _sample(pixels, box)
    # Where cells run into each other most colours are mixtures.
    mixed = lossy or max(horizontal.smoothness, vertical.smoothness) > MIN_SMOOTHNESS
    if not is_found(across) and up is None:
        _require_other_evidence(sample, pixels.grey, mixed, options, notes)
    colormap = find_colormap(sample, pixels.grey, mixed, options, notes)
    # Where rows are counted, they say better than ticks where the axis begins.
    zero = (
        lowest_tick(pixels, box)
        if up is None and y_axis == "linear" and box.slack and (extent is None or not extent.is_given)
        else None
    )
    axis = frequencies(vertical, y_axis, up, zero, extent, options, notes)
    rows, bands = axis.rows, axis.bands
    whole = box.inside == (0, 0, pixels.width, pixels.height)
    counted = across if is_found(across) and not across.smooth else None
    labelled = labelled_seconds(pixels, box) if options.seconds is None else None
    columns, spacing, known = find_columns(horizontal, counted, axis.n_fft, labelled, whole, options, notes)
    check_length(columns.n, spacing, axis.n_fft, options, notes)
    settings = _settings(axis.n_fft, _hop_length(spacing, options.win_length or axis.n_fft, notes), options)
    # JPEG's colours are half as sharp as its light.
    margin = 2 if lossy and not pixels.grey and min(rows.cell, columns.cell) >= 8 else 1
    has_row, has_column, means = cell_means(pixels, box.inside, rows, columns, margin)
    pixels.close()
    if means.size == 0:
        raise InputError(f"{notes.path}: no cell has a pixel of its own; give the right --n_fft, --seconds or --box")
    _warn_of_thin_cells(float(has_row.mean() * has_column.mean()), rows, box, zero, settings, notes)
    # Values of the colours that are there lie between each other, colours do not.
    values = values_of(means, colormap, options, notes)
    values = upright(between(between(values, has_row, 0), has_column, 1), options, notes)
    values = between_columns(values, settings.hop_length / spacing)
    relative_db = levels_of(values, options, notes)
    n_above = (settings.n_freqs if bands is None else bands.n_mels) - len(relative_db) - axis.lowest
    if n_above or axis.lowest:
        relative_db = np.pad(relative_db, ((axis.lowest, n_above), (0, 0)), constant_values=-options.range_db)
    is_guess = not (known or options.n_fft or (up is not None and bands is None))
    _note_settings(settings, relative_db.shape[1], known, is_guess, options, notes)
    return Figure(
        notes.path,
        settings,
        relative_db,
        bands,
        tuple(notes.findings),
        tuple(notes.warnings),
        Layout(box.inside, rows.edges, columns.edges),
        # Byte 255 is the middle of the highest of 256 steps.
        top_db=-options.range_db / 512,
    )


def _side(pixels: Pixels, box: Box, lossy: bool, vertical: bool) -> Side:
    changes, smoothness, bends = changes_along(pixels, box.inside, vertical, lossy)
    start = box.inside[1] if vertical else box.inside[0]
    # From the bottom up, as frequencies go.
    low, high = (box.edges[3], box.edges[1]) if vertical else (box.edges[0], box.edges[2])
    return Side(changes, start, low, high, box.slack, lossy, smoothness, bends)


def _sample(pixels: Pixels, box: Box) -> NDArray[np.uint8]:
    """Pixels from all over the spectrogram, shape (n, 1 or 3)."""
    left, top, right, bottom = box.inside
    rows = np.unique(np.linspace(top, bottom - 1, 101).astype(int))
    lines = np.concatenate([pixels.strip(left, y, right, y + 1)[0] for y in rows])
    flat = lines.reshape(len(lines), -1)
    return flat[:: max(1, len(flat) // _N_SAMPLES)]


def _may_be_array(pixels: Pixels, box: Box, lossy: bool, options: FigureOptions) -> bool:
    """Whether a picture without a grid has as many rows of pixels as a spectrogram has frequencies or mel bands."""
    if box.inside != (0, 0, pixels.width, pixels.height):
        return False
    if options.n_fft is not None and options.y_axis != "mel":
        return pixels.height == options.n_fft // 2 + 1
    if options.y_axis == "mel":
        return options.n_mels in (None, pixels.height)
    # Photographs, too, are 512 pixels high.
    usual = {2**k + extra for k in range(6, 13) for extra in ((1,) if lossy else (0, 1))}
    return pixels.height in usual and options.seconds is None


def _require_other_evidence(
    sample: NDArray[np.uint8], grey: bool, mixed: bool, options: FigureOptions, notes: Notes
) -> None:
    """Where no cells can be seen only colours, or the user, can say that this is a spectrogram."""
    if options.n_fft or options.seconds:
        return
    colours = "greys are anybody's"
    if not grey:
        try:
            identify(sample, options.colormap, notes.path, mixed)
            return
        except InputError as error:
            colours = str(error).removeprefix(f"{notes.path}: ").rsplit(";", 1)[0]
    raise InputError(
        f"{notes.path}: nothing in it repeats as the cells of a spectrogram do, and {colours}; if it is one whose "
        "cells are thinner than two pixels, say so with --n_fft and --seconds"
    )


def _hop_length(spacing: int, win_length: int, notes: Notes) -> int:
    """The hop of the sound: that of the columns, unless windows overlap by less than half."""
    if spacing <= win_length // 2:
        return spacing
    hop_length = max(1, win_length // 4)
    notes.warnings.append(
        f"its columns are {spacing} samples apart, more than half a window of {win_length}, and no sound can be made "
        f"from so few; those between them, {hop_length} apart, are interpolated"
    )
    return hop_length


def _settings(n_fft: int, hop_length: int, options: FigureOptions) -> SpectrogramSettings:
    return SpectrogramSettings(
        options.sample_rate,
        n_fft,
        hop_length,
        options.win_length or n_fft,
        options.window,
        # The floor is the lowest of 256 steps, so that they are the codes of an image file with 8 bits.
        floor_db=-options.range_db * 255 / 256,
        bits=8,
    )


def _warn_of_thin_cells(
    share: float, rows: Grid, box: Box, zero: float | None, settings: SpectrogramSettings, notes: Notes
) -> None:
    if share < 1:
        notes.warnings.append(
            f"{1 - share:.1%} of the cells are too thin to have a pixel; filled in from their neighbours"
        )
    if rows.cell < 1 and rows.confidence == 0 and box.slack and zero is None:
        hz = 0.5 / rows.cell * settings.sample_rate / settings.n_fft
        notes.warnings.append(
            f"its rows may be off by half a pixel, which is {hz:.0f} Hz; a figure that is saved larger tells them apart"
        )


def _note_settings(
    settings: SpectrogramSettings, n_frames: int, known: str, is_guess: bool, options: FigureOptions, notes: Notes
) -> None:
    lost = "no picture shows it"
    seconds = settings.n_samples(n_frames) / settings.sample_rate
    notes.found("sample_rate", f"{settings.sample_rate} Hz", None, f"{lost}; --sample_rate")
    if is_guess:
        notes.warnings.append(
            f"its length, {seconds:.2f} s, is a guess: the picture shows neither n_fft nor hop_length; give "
            "--seconds, or --n_fft and --hop_length"
        )
    how = known or f"n_fft / 4; {lost}; --hop_length"
    notes.found("hop_length", str(settings.hop_length), None, how)
    how = f"{lost}, and if nothing is that quiet the darkest colour is louder; --range_db"
    notes.found("range_db", f"{options.range_db:g} dB", None, how)
    notes.found("seconds", f"{seconds:.2f}", None, "frames x hop_length / sample_rate")
    notes.found("level", "lost", None, "only differences of level are drawn")
