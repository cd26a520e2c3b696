"""Which end of a picture's colours is loud."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Fewer cells than this have no skewness to speak of.
_MIN_CELLS = 200
# Lowest and highest steps of 256: with JPEG's noise silence is up to two.
_LARGEST_STEP = 2 / 256
# Part of the cells that lie within the range from which on their skewness counts in full: a few islands in silence
# are mostly their shores.
_MIN_SEEN = 0.5
# Part of the cells at one end from which on silence counts in full.
_SILENCE = 0.25
# Weights of the signs: a logistic regression over 1380 arrays of 23 kinds of sound (tones, noise, music, speech, the
# demo set; white noise of 0 to 0.01, n_fft 256 to 4096, mel and linear, range 40 dB to all, also clipped at the top).
_NULLS, _LINES, _SILENT, _RARE = 2.5, 2.5, 2.0, 1.4
# Silence and rarity are one sign where the loud end is cut off; alone they reverse no colour map of a name.
_SILENT_AND_RARE = 2.4
# Of magnitudes all other signs point the other way.
_LINEAR = 4.0


def loudness_of_high_values(values: NDArray[np.float32]) -> tuple[float, str]:
    """Log odds that the high values of a spectrogram are the loud ones.

    The sum of four signs, none of which depends on the order of the rows:

    - Nulls between columns: a level in dB of noise, 10 log10 of an exponentially distributed power, has a skewness
      of -1.14. Nothing reaches up as narrow nulls reach down. An onset reaches up in all rows at once, so the column's
      median is taken out.
    - The same between rows.
    - Silence: an end that many cells share is the quiet one.
    - Rarity: loud cells are fewer than quiet ones; the levels of all cells are skewed to the loud side.

    Args:
        values: Shape (n_rows, n_columns), in [0, 1], proportional to dB; the rows in any order.

    Returns:
        Positive if high values are the loud ones, 0 for not known, at most 7.4 either way; and the signs as people
        read them.
    """
    seen = (values > _LARGEST_STEP) & (values < 1 - _LARGEST_STEP)
    weight = min(1.0, float(seen.mean()) / _MIN_SEEN)
    share = float(np.mean(values <= _LARGEST_STEP) - np.mean(values >= 1 - _LARGEST_STEP))
    silence, rarity = _SILENT * _clipped(share / _SILENCE), _RARE * _clipped(_skewness([values.ravel()]))
    excess = max(1.0, abs(silence + rarity) / _SILENT_AND_RARE)
    signs = {
        "nulls between columns": -_NULLS * weight * _clipped(_skewness(_peaks(values, seen))),
        "between rows": -_LINES * weight * _clipped(_skewness(_peaks(values.T, seen.T))),
        "silence": silence / excess,
        "rarity": rarity / excess,
    }
    told = ", ".join(f"{name} {sign:+.1f}" for name, sign in signs.items() if round(sign, 1) != 0)
    return sum(signs.values()), f"log odds of {told}" if told else "not known"


def rarity_of_high_values(values: NDArray[np.float32]) -> tuple[float, str]:
    """The same of magnitudes or powers, of which nearly all are near the quiet end.

    Args:
        values: Shape (n_rows, n_columns), in [0, 1], proportional to magnitude or power.

    Returns:
        Positive if high values are the loud ones, at most 4 either way; and how it was told.
    """
    skewness = _skewness([values.ravel()])
    return _LINEAR * _clipped(skewness), f"skewness of magnitudes {skewness:+.1f}"


def _peaks(values: NDArray[np.float32], seen: NDArray[np.bool_]) -> Iterable[NDArray[np.float32]]:
    """By how much cells rise above the mean of the two beside them, without the median of their column, by column."""
    # What the ends of the range cut off tells nothing.
    within = seen[:, 1:-1] & seen[:, :-2] & seen[:, 2:]
    peaks = values[:, 1:-1] - 0.5 * (values[:, :-2] + values[:, 2:])
    for column, there in zip(peaks.T, within.T, strict=True):
        if there.any():
            yield column[there] - np.median(column[there])


def _skewness(parts: Iterable[NDArray[np.float32]]) -> float:
    numbers = np.concatenate([np.zeros(0, np.float32), *parts]).astype(np.float64)
    if len(numbers) < _MIN_CELLS or (spread := float(numbers.std())) == 0:
        return 0.0
    return float(np.mean(((numbers - numbers.mean()) / spread) ** 3))


def _clipped(number: float) -> float:
    return min(1.0, max(-1.0, number))
