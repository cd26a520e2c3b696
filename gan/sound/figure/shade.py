"""Colours of a picture's cells as values, from quiet to loud."""

import math

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure.colormap import Colormap, identify
from gan.sound.figure.figure import Notes
from gan.sound.figure.levels import DECADE_DB
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.polarity import loudness_of_high_values, rarity_of_high_values

WHITE_IS_LOUD = ("gray", "grey", "Greys_r", "binary_r")
WHITE_IS_QUIET = ("gray_r", "grey_r", "Greys", "binary")
# Difference between the lower and the upper half, as a share of the range, that tells loud from quiet.
_SLOPE = 0.02
_FAR = 30.0
# Log odds of loud and quiet: below the first they are doubtful; a colour map of a name begins with the second, for
# hardly anybody reverses one. Of 1380 figures of 23 kinds of sound 1 is taken for reversed, and 85 % of reversed ones.
_DOUBTFUL = 1.0
_NAMED = 1.5


def find_colormap(
    sample: NDArray[np.uint8], grey: bool, mixed: bool, options: FigureOptions, notes: Notes
) -> Colormap | None:
    """Find the colour map of a picture in colour; None for a grey one.

    Args:
        sample: Pixels from within the spectrogram, shape (n, 3), or (n, 1) of a grey picture.
        grey: Whether it has no colours.
        mixed: Whether most colours are mixtures of those that were drawn (JPEG, interpolation).
        options: What is known.
        notes: Warned if the map that is given does not fit.

    Raises:
        InputError: If the colours are of no known map, or another map is given for a grey picture.
    """
    name = options.colormap
    if grey:
        if name not in (None, *WHITE_IS_LOUD, *WHITE_IS_QUIET):
            raise InputError(f"{notes.path}: the picture is grey, not {name}; leave --colormap out, or gray, gray_r")
        return None
    colormap = identify(sample, name, notes.path, mixed)
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
    if colormap is None:
        name, confidence, how = "gray", 1.0, "grey"
        values = (means + np.float32(0.5)) / np.float32(256)
    else:
        name, confidence = colormap.name, colormap.confidence or 0.0
        values, distances = colormap.codes(means)
        how = f"colours are {np.median(distances):.1f} of 255 away (median)"
    if options.colormap is not None:
        notes.found("colormap", options.colormap, None, f"given; {how}")
        if colormap is None and options.colormap in WHITE_IS_QUIET:
            values = 1 - values
    else:
        values = as_loudness(values, name, confidence, how, notes, options.values in DECADE_DB)
    # The lowest step is mostly the floor that amplitude_to_db sets, not what lies a little above it.
    values[values < 1 / 256] = 0
    return values


def as_loudness(
    values: NDArray[np.float32], name: str, confidence: float, how: str, notes: Notes, linear: bool = False
) -> NDArray[np.float32]:
    """Turn values over whose high end is the quiet one, and note the colour map.

    Args:
        values: Shape (n_rows, n_columns), in [0, 1].
        name: Name of the colour map that they were read with.
        confidence: That it is this one or its reverse.
        how: How it was found.
        notes: Told what was found.
        linear: Whether the values are no dB.

    Returns:
        The values, quiet to loud.

    Raises:
        InputError: If it is grey and it cannot be told whether black or white is loud.
    """
    log_odds, told_by = (rarity_of_high_values if linear else loudness_of_high_values)(values)
    if name != "gray":
        log_odds += _NAMED
    if name == "gray" and abs(log_odds) < _DOUBTFUL:
        raise InputError(
            f"{notes.path}: whether black or white is loud cannot be told; give --colormap gray (white is loud) or "
            f"gray_r ({told_by})"
        )
    reverse = log_odds < (0 if name == "gray" else -_DOUBTFUL)
    if name == "gray" or reverse or log_odds < _NAMED - _DOUBTFUL:
        confidence = min(confidence, math.tanh(abs(log_odds) / 2))
        how = f"{how}; {told_by}"
    if not reverse and log_odds < _NAMED - _DOUBTFUL:
        notes.warnings.append(
            f"is read as {name}, as everyone draws it, but looks reversed ({told_by}): --colormap {name}_r?"
        )
    notes.found("colormap", f"{name}_r" if reverse else name, confidence, how)
    return 1 - values if reverse else values


def upright(values: NDArray[np.float32], options: FigureOptions, notes: Notes) -> NDArray[np.float32]:
    """Turn values over if low frequencies are at the top of the picture."""
    if options.upside_down:
        notes.found("upside_down", "yes", None, "given")
        return values[::-1]
    half = len(values) // 2
    if options.upside_down is None and values[:half].mean() < values[half:].mean() - _SLOPE:
        # Loud and quiet exchanged look the same, and turning the picture over would hide that.
        exchanged = "" if options.colormap else ", or loud and quiet exchanged (--colormap)"
        notes.warnings.append(
            "its high frequencies are louder than its low ones: are low frequencies at the top (--upside_down true)"
            f"{exchanged}?"
        )
    return values
