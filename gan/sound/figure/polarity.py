"""Which end of a picture's colours is loud."""

import numpy as np
from numpy.typing import NDArray

# A level of noise in dB, 10 log10 of an exponentially distributed power, has a skewness of -1.14: narrow nulls reach
# far down, nothing reaches up like that. Measured between neighbouring columns: music and speech -0.7 to -1.0.
_CERTAIN_SKEWNESS = 0.6
_LEAST_SKEWNESS = 0.2
_MIN_CELLS = 500
_LARGEST_STEP = 1 / 256
# Share of cells of one end colour that tells silence, which is common, from the loudest level, which is rare.
_LEAST_SILENCE = 0.02
_CERTAIN_SILENCE = 0.1


def loudness_of_high_values(values: NDArray[np.float32]) -> tuple[float, str]:
    """How surely the high values of a spectrogram are the loud ones.

    It is told by the nulls between neighbouring columns, which are narrower and deeper than anything that is loud, and
    where too little is to be seen of them by which end is the commoner one.

    Args:
        values: Shape (n_rows, n_columns), in [0, 1], proportional to dB; the rows in any order.

    Returns:
        1 for surely, -1 for surely the quiet ones, 0 for not known; and how it was told.
    """
    inner = values[:, 1:-1]
    # What both ends of the range cut off tells nothing.
    seen = (values > _LARGEST_STEP) & (values < 1 - _LARGEST_STEP)
    seen = seen[:, 1:-1] & seen[:, :-2] & seen[:, 2:]
    steps = (inner - 0.5 * (values[:, :-2] + values[:, 2:]))[seen].astype(np.float64)
    if len(steps) >= _MIN_CELLS and (spread := float(steps.std())) > 0:
        skewness = float(np.mean(((steps - steps.mean()) / spread) ** 3))
        if abs(skewness) >= _LEAST_SKEWNESS:
            return float(np.clip(-skewness / _CERTAIN_SKEWNESS, -1, 1)), f"skewness of levels {-abs(skewness):.2f}"
    silence = float(np.mean(values <= _LARGEST_STEP) - np.mean(values >= 1 - _LARGEST_STEP))
    if abs(silence) >= _LEAST_SILENCE:
        return float(np.clip(silence / _CERTAIN_SILENCE, -1, 1)), f"{abs(silence):.0%} of the cells are silence"
    return 0.0, "not known"
