"""Colours of a picture's cells as values, from quiet to loud."""

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure.colormap import Colormap, identify
from gan.sound.figure.figure import Notes
from gan.sound.figure.options import FigureOptions

_WHITE_IS_LOUD = ("gray", "grey", "Greys_r", "binary_r")
_WHITE_IS_QUIET = ("gray_r", "grey_r", "Greys", "binary")
# Difference between the lower and the upper half, as a share of the range, that tells loud from quiet.
_SLOPE = 0.02
_FAR = 30.0


def find_colormap(
    sample: NDArray[np.uint8], grey: bool, lossy: bool, options: FigureOptions, notes: Notes
) -> Colormap | None:
    """Find the colour map of a picture in colour; None for a grey one.

    Args:
        sample: Pixels from within the spectrogram, shape (n, 3), or (n, 1) of a grey picture.
        grey: Whether it has no colours.
        lossy: Whether it is a JPEG or another format that changes colours.
        options: What is known.
        notes: Warned if the map that is given does not fit.

    Raises:
        InputError: If the colours are of no known map, or another map is given for a grey picture.
    """
    name = options.colormap
    if grey:
        if name not in (None, *_WHITE_IS_LOUD, *_WHITE_IS_QUIET):
            raise InputError(f"{notes.path}: the picture is grey, not {name}; leave --colormap out, or gray, gray_r")
        return None
    colormap = identify(sample, name, notes.path, lossy)
    if colormap.distance > _FAR:
        notes.warnings.append(f"its colours are far from {name}: {colormap.distance:.0f} of 255 (median)")
    return colormap


def values_of(
    means: NDArray[np.float32], colormap: Colormap | None, options: FigureOptions, notes: Notes
) -> NDArray[np.float32]:
    """Values of colours.

    Args:
        means: Mean colour of each cell, lowest frequency first, shape (n_rows, n_columns, 3), or (n_rows, n_columns)
            of a grey picture; 0 to 255.
        colormap: The map; None for a grey picture.
        options: What is known.
        notes: Told what was found.

    Returns:
        Shape (n_rows, n_columns), in (0, 1), quiet to loud; exactly 0 in the lowest of the 256 steps.

    Raises:
        InputError: If it cannot be told which end is loud.
    """
    given = options.colormap
    if colormap is not None:
        values, distances = colormap.codes(means)
        how = f"colours are {np.median(distances):.1f} of 255 away (median)"
        notes.found("colormap", colormap.name, colormap.confidence, how if given is None else f"given; {how}")
    else:
        values = (means + np.float32(0.5)) / np.float32(256)
        if given is not None:
            notes.found("colormap", given, None, "given; the picture is grey")
            white_is_loud = given in _WHITE_IS_LOUD
        else:
            white_is_loud = _white_is_loud(values, notes)
        if not white_is_loud:
            values = 1 - values
    # The lowest step is mostly the floor that amplitude_to_db sets, not what lies a little above it.
    values[values < 1 / 256] = 0
    return values


def _white_is_loud(values: NDArray[np.float32], notes: Notes) -> bool:
    """Black may be the quiet end or the loud one: low frequencies are louder, and silence is common."""
    half = len(values) // 2
    slope = float(values[:half].mean() - values[half:].mean())
    silence = float(np.mean(values < 1 / 256) - np.mean(values > 255 / 256))
    evidence = slope + 0.5 * silence
    if abs(evidence) < _SLOPE:
        raise InputError(
            f"{notes.path}: whether black or white is loud cannot be told; give --colormap gray (white is loud) or "
            "gray_r"
        )
    name = "gray" if evidence > 0 else "gray_r"
    notes.found("colormap", name, min(1.0, abs(evidence) / (5 * _SLOPE)), "grey; low frequencies are the louder ones")
    return evidence > 0


def upright(values: NDArray[np.float32], options: FigureOptions, notes: Notes) -> NDArray[np.float32]:
    """Turn values over if low frequencies are at the top of the picture."""
    if options.upside_down:
        notes.found("upside_down", "yes", None, "given")
        return values[::-1]
    half = len(values) // 2
    if options.upside_down is None and values[:half].mean() < values[half:].mean() - _SLOPE:
        notes.warnings.append(
            "its high frequencies are louder than its low ones: drawn with a reversed colour map (--colormap NAME_r), "
            "or with low frequencies at the top (--upside_down true)?"
        )
    return values
