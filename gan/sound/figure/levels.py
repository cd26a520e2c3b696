"""Values of colours to levels in dB."""

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure.figure import Notes
from gan.sound.figure.options import FigureOptions

# dB of a factor of ten.
DECADE_DB = {"magnitude": 20.0, "power": 10.0}
_STEP = 1 / 256
# Log odds that a picture shows no dB, a logistic regression: 460 arrays of dB and 460 of magnitude, its square and root
# and log1p, of 23 kinds of sound. Figures of tones in noise that is nearly as quiet as their floor reach 2.7 in dB;
# their magnitudes and powers are at 3.2 to 5.3.
_INTERCEPT, _LOW, _SLOPE, _FEW_LOUD = -4.7, 6.5, 3.5, 1.4
_DOUBTFUL, _REFUSED = 2.0, 3.0
# Fewer cells than this say nothing of how far levels vary.
_MIN_CELLS = 30


def levels_of(values: NDArray[np.float32], options: FigureOptions, notes: Notes) -> NDArray[np.float32]:
    """Levels in dB of values of colours.

    Args:
        values: Quiet to loud, in [0, 1].
        options: What the values are, and the range of levels.
        notes: Told what was found; warned where the values may not be dB.

    Returns:
        dB, 0 for a value of 1, at least -range_db.

    Raises:
        InputError: If the colours show no dB and what they show is not given.
    """
    if options.values in DECADE_DB:
        decade_db = np.float32(DECADE_DB[options.values])
        notes.found(
            "values", options.values, None, f"given; 256 colours show {-decade_db * np.log10(_STEP):.0f} dB of it"
        )
        smallest = np.float32(10 ** (-options.range_db / float(decade_db)))
        # What is in the lowest step may be anything below it.
        return decade_db * np.log10(np.where(values < _STEP, smallest, np.maximum(values, smallest)))
    if options.values is None:
        _check(values, notes)
    return (values - np.float32(1)) * np.float32(options.range_db)


def _check(values: NDArray[np.float32], notes: Notes) -> None:
    log_odds, how = log_odds_of_linear(values)
    problem = f"its colours are unlikely to show dB ({how})"
    if log_odds > _REFUSED:
        raise InputError(
            f"{notes.path}: {problem}; give --values magnitude or power if these were drawn as they are, --values db "
            "if it does show dB; another curve cannot be read: draw it in dB"
        )
    if log_odds > _DOUBTFUL:
        notes.warnings.append(f"{problem}: --values magnitude or power?")


def log_odds_of_linear(values: NDArray[np.float32]) -> tuple[float, str]:
    """Log odds that values were drawn as they are and not in dB, told by how they crowd at the quiet end.

    Of magnitudes nearly all are far below the loudest one, and they vary from column to column in proportion to what
    they are. Levels in dB spread over the range and vary as much where they are high.

    Args:
        values: Shape (n_rows, n_columns), in [0, 1]. The commoner end is taken for the quiet one.

    Returns:
        Positive if they are no dB; and how it was told.
    """
    if values.mean() > 0.5:
        values = 1 - values
    shown = values[values > 2 * _STEP]
    low = float(np.mean(shown < 0.1)) if len(shown) else 1.0
    above = float(np.mean(values > 0.1))
    slope = _slope_of_variation(values)
    log_odds = _INTERCEPT + _LOW * low + _SLOPE * min(1.0, max(0.0, slope)) - _FEW_LOUD * np.log10(above + 1e-4)
    return float(log_odds), f"{low:.0%} of the cells that show anything are in the lowest tenth of the colours"


def _slope_of_variation(values: NDArray[np.float32]) -> float:
    """Exponent with which the variation from column to column grows with the value: 1 for magnitudes, 0 for dB."""
    seen = (values > 2 * _STEP) & (values < 1 - 2 * _STEP)
    within = seen[:, 1:-1] & seen[:, 2:] & seen[:, :-2]
    around = values[:, :-2] + values[:, 2:]
    variation = np.abs(values[:, 1:-1] - 0.5 * around)[within]
    octaves = np.floor(2 * np.log2((values[:, 1:-1] + around)[within] / (12 * _STEP))).clip(0, 12)
    groups = [octave for octave in range(13) if np.sum(octaves == octave) >= _MIN_CELLS]
    if len(groups) < 3:
        return 0.0
    means = [np.log2(variation[octaves == octave].mean() + 0.3 * _STEP) for octave in groups]
    weights = [np.sqrt(np.sum(octaves == octave)) for octave in groups]
    return float(np.polyfit(0.5 * np.array(groups), means, 1, w=weights)[0])
