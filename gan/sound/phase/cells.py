"""Cells of a magnitude: how loud they are, and which have a phase that is worth finding."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool1d

from gan.errors import InputError
from gan.sound.phase.compiled import compiled

# Frames on both sides among which a cell's neighbourhood is looked for: a second and a half at 2048/512 and 22,050 Hz.
_AROUND = 64
# Below this, relative to the loudest cell of all, nothing is left of a recording.
_QUIETEST = 1e-7
# Lowest magnitude that is told from silence, relative to the loudest cell.
LOWEST = 1e-9


def audible_cells(target: Tensor, tolerance_db: float) -> NDArray[np.bool_]:
    """Cells that are not far below the loudest one around them, and were not clipped.

    Loudness is compared within a second or so, so that a quiet passage is treated as a loud one is.

    Args:
        target: Linear amplitude of one item, shape (n_frames, n_freqs), float32, contiguous, its loudest cell 1.
        tolerance_db: How far below, dB > 0.

    Returns:
        Shape (n_frames, n_freqs). Cells that are as loud as all cells around them are left out: they were clipped to
        a floor, and a phase that is found for it makes it a row of clicks.
    """
    peaks = max_pool1d(target.amax(-1)[None], 2 * _AROUND + 1, stride=1, padding=_AROUND)[0]
    lowest = (peaks * 10.0 ** (-tolerance_db / 20.0)).clamp_min_(_QUIETEST)
    return _above(target.numpy(), lowest.numpy())


def level_of(magnitude: Tensor) -> Tensor:
    """Natural logarithm of a magnitude whose loudest cell is 1, finite where there is silence; same shape."""
    return magnitude.clamp_min(LOWEST).log_()


def check_tolerance(tolerance_db: float) -> None:
    """Refuse what is no tolerance.

    Raises:
        InputError: If it is not above 0.
    """
    if not 0 < tolerance_db < torch.inf:
        raise InputError(f"tolerance_db is {tolerance_db}; it must be above 0, 60 is usual")


@compiled()
def _above(target: NDArray[np.float32], lowest: NDArray[np.float32]) -> NDArray[np.bool_]:
    n_frames, n_freqs = target.shape
    chosen = np.empty(target.shape, np.bool_)
    for frame in range(n_frames):
        before, behind = max(frame - 1, 0), min(frame + 1, n_frames - 1)
        for k in range(n_freqs):
            here = target[frame, k]
            flat = here == target[before, k] == target[behind, k] and (
                here == target[frame, max(k - 1, 0)] == target[frame, min(k + 1, n_freqs - 1)]
            )
            chosen[frame, k] = here > lowest[frame] and not flat
    return chosen
