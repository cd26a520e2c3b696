"""Reads pictures of `sox ... -n spectrogram`."""

import dataclasses
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure.box import find_box
from gan.sound.figure.figure import Figure
from gan.sound.figure.levels import levels_of
from gan.sound.figure.matrix import Matrix
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import Pixels
from gan.sound.figure.shade import as_loudness
from gan.sound.figure.sox_palette import N_COLOURS, NAMES, palette

# The lowest level of SoX's legend unless -z changes it.
_RANGE_DB = 120.0
_OUR_RANGE_DB = FigureOptions().range_db
# Colours that are exactly SoX's, and how many of them there must be.
_MIN_SHARE = 0.98
_MIN_COLOURS = 12
_MIN_GREYS = 100
_N_ROWS = 40
# The page, text and lines, on black and (-l) on a light ground.
_LIGHT_PAGE = 0xDDD8D0
_PAGE = [0, 0x3F3F3F, 0x7F7F7F, 0xBFBFBF, 0xFFFFFF, _LIGHT_PAGE, 0xDFDFDF]


def find_sox(pixels: Pixels) -> str | None:
    """The palette of a picture that SoX drew, "gray" for -m; None for other pictures."""
    rows = np.unique(np.linspace(0, pixels.height - 1, _N_ROWS).astype(int))
    sample = np.concatenate([pixels.rows(y, y + 1)[0] for y in rows])
    colours = np.unique(sample).astype(np.int64) * 0x10101 if pixels.grey else _as_numbers(np.unique(sample, axis=0))
    drawn = colours[~np.isin(colours, _PAGE)]
    if pixels.grey:
        # Of 256 greys SoX leaves out five, at even distances.
        return "gray" if len(drawn) >= _MIN_GREYS and np.isin(drawn, _as_numbers(palette("gray"))).all() else None
    if len(drawn) < _MIN_COLOURS:
        return None
    shares = {name: float(np.isin(drawn, _as_numbers(palette(name))).mean()) for name in NAMES}
    best = max(NAMES, key=lambda name: shares[name])
    return best if shares[best] >= _MIN_SHARE else None


def _as_numbers(colours: NDArray[np.generic]) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return numbers


def read_sox(path: Path, pixels: Pixels, name: str, options: FigureOptions) -> Figure:
    """Read a picture of SoX's: one pixel a cell, with its axes or without (-r).

    Args:
        path: The file, for messages.
        pixels: The picture.
        name: Its palette.
        options: What is known of it; the length or the hop has to be.

    Raises:
        InputError: If something has to be given.
    """
    box = options.box or find_box(pixels, path).inside
    left, top, right, bottom = box
    n_rows, n_columns = bottom - top, right - left
    if options.hop_length is None and options.seconds is None:
        raise InputError(
            f"{path}: SoX fits sounds of any length into its {n_columns} columns; give the length with --seconds, or "
            "--hop_length"
        )
    hop_length = options.hop_length or max(1, round((options.seconds or 0) * options.sample_rate / n_columns))
    n_fft = options.n_fft or 2 * (n_rows - 1)
    if hop_length > n_fft // 2:
        raise InputError(
            f"{path}: its columns are {hop_length} samples apart, and windows of {n_fft} do not overlap by half: no "
            f"sound can be made of it; draw {math.ceil(2 * options.sample_rate / n_fft)} columns a second or more (sox "
            "-X)"
        )
    range_db = _RANGE_DB if options.range_db == _OUR_RANGE_DB else options.range_db
    known = dataclasses.replace(
        options,
        n_fft=n_fft,
        y_axis="linear",
        hop_length=hop_length,
        seconds=None,
        range_db=range_db,
        upside_down=bool(options.upside_down),
        values=options.values or "db",
    )
    matrix = Matrix(path, (n_rows, n_columns), known)
    matrix.notes.found("box", " ".join(map(str, box)), None if options.box else 1.0, "the axes of SoX")
    matrix.notes.found("range_db", f"{range_db:g} dB", None, "SoX's legend begins at -120 dB unless -z was given")
    cells = pixels.strip(*box)
    if pixels.grey:
        cells = np.repeat(cells[..., None], 3, axis=-1)
    # Row by row: 249 distances to each pixel.
    codes = np.stack([_codes(row, palette(name)) for row in cells])
    values = (codes + np.float32(0.5)) / np.float32(N_COLOURS)
    values = _as_loudness(values, name, pixels, known, matrix)
    values[values < 1 / N_COLOURS] = 0
    return matrix.figure(levels_of(values, known, matrix.notes), -range_db, 8)


def _as_loudness(
    values: NDArray[np.float32], name: str, pixels: Pixels, options: FigureOptions, matrix: Matrix
) -> NDArray[np.float32]:
    how = "colours are exactly SoX's"
    corner = pixels.strip(0, 0, 1, 1).reshape(-1)
    if options.colormap is not None:
        reverse = options.colormap.endswith("_r")
        matrix.notes.found("colormap", options.colormap, None, f"given; {how}")
    elif corner[0] in (0xDD, 0xDF):
        reverse = True
        matrix.notes.found("colormap", f"{name}_r", 1.0, f"{how}, on a light page")
    else:
        return as_loudness(values, name, 1.0, how, matrix.notes)
    return 1 - values if reverse else values


def _codes(row: NDArray[np.uint8], colours: NDArray[np.float32]) -> NDArray[np.float32]:
    distances = np.square(row[:, None].astype(np.float32) - colours).sum(axis=-1)
    codes: NDArray[np.float32] = distances.argmin(axis=1).astype(np.float32)
    return codes
