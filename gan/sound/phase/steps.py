"""A small network that sees a patch of a magnitude and says how the phase goes on to the next cells, and how surely.

Magnitudes determine phases but for a turn of the whole, and nearly so from nearby: PGHI's slopes are the linear part
of that, exact for a Gaussian window. What a network adds is the rest of it: where two partials meet, near zeros, at
onsets, and which of it is to be trusted.
"""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan.outputs import Mark
from gan.plain import made_of
from gan.sound.phase.cells import level_of
from gan.sound.phase.compiled import compiled
from gan.sound.phase.pghi import GAUSSIAN
from gan.sound.settings import SpectrogramSettings
from gan.tensors import Format, with_weights

# A patch is of frames n - 2 to n + 3 and bins k - 2 to k + 3 around the steps that begin at cell (n, k).
BEFORE, SIDE = 2, 6
# Differences of level are clipped to 60 dB and brought to about 1.
_CLIP, _SCALE = np.float32(7.0), np.float32(0.3)
# Window length over hop length that the rotation of the time steps, and so the weights, are for.
_OVERLAP = 4
_CELLS_AT_ONCE = 4096
_FORMAT = Format("phase steps 1", "weights", "weights of `gan train-phase`")

WEIGHTS_MARK = Mark("file of weights of gan train-phase", _FORMAT.found_in)


class PhaseSteps(nn.Module):
    """Predicts the phase's steps to the next frame and to the next bin from the magnitude around a cell.

    The answer for each step is kappa e^(i d): its angle d is the step, its length kappa how certain that is, the
    concentration of a von Mises distribution (two-stage methods after Masuyama et al. 2020, arXiv 2002.05832, predict
    the angles alone). Steps are counted at the middle of the window, those in time without the turn of the bin's own
    frequency. They are the same for every length of window, as long as it is Hann's and overlaps by three quarters.

    Args:
        hidden: Units of the hidden layers.
    """

    def __init__(self, hidden: tuple[int, ...] = (64, 48)) -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        sizes = (2 * SIDE * SIDE, *self.hidden)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 4))
        # PGHI's slopes, learnt on from there: the network itself only has to say how far they are off.
        self.slopes = nn.Linear(SIDE * SIDE, 2, bias=False)
        with torch.no_grad():
            self.slopes.weight.copy_(_pghi_slopes())

    def forward(self, features: Tensor) -> Tensor:
        """Predict steps.

        Args:
            features: Shape (n_cells, 72), as `features_of` makes them.

        Returns:
            kappa e^(i d), complex, shape (n_cells, 2): in time, in frequency.
        """
        certain = torch.view_as_complex(self.layers(features).unflatten(-1, (2, 2)))
        slopes = self.slopes(features[:, : SIDE * SIDE])
        return certain * torch.polar(torch.ones_like(slopes), slopes)

    @torch.no_grad()
    def steps(self, magnitude: Tensor, places: NDArray[np.int32]) -> Tensor:
        """Predict the steps of some cells of a magnitude.

        Args:
            magnitude: Shape (n_frames, n_freqs), float32, contiguous, on the CPU; its loudest cell is 1.
            places: Cells in the flat magnitude, shape (n_cells,).

        Returns:
            Complex, shape (n_cells, 2).
        """
        found = torch.empty(len(places), 2, dtype=torch.complex64)
        level = level_of(magnitude).numpy()
        for first in range(0, len(places), _CELLS_AT_ONCE):
            some = slice(first, first + _CELLS_AT_ONCE)
            found[some] = self(torch.from_numpy(features_of(magnitude.numpy(), level, places[some])))
        return found

    def save(self, path: Path, about: dict[str, Any]) -> None:
        """Write the weights, and what they were made of, as a safetensors file.

        Args:
            path: The file.
            about: What there is to say of them, e.g. licences; plain data.
        """
        metadata = {"hidden": json.dumps(self.hidden), "about": json.dumps(about)}
        _FORMAT.write(path, self.state_dict(), metadata)

    @classmethod
    def load(cls, path: Path) -> "PhaseSteps":
        """Read what `save` wrote.

        Raises:
            InputError: If the file is missing, damaged, or something else.
        """
        with _FORMAT.read(path) as (metadata, weights):
            hidden = made_of(tuple[int, ...], json.loads(metadata["hidden"]), "hidden")
            return with_weights(lambda: cls(hidden), weights)


def trained_for(settings: SpectrogramSettings) -> bool:
    """Whether steps are known for a grid: Hann windows of the transform's length, a quarter of it apart."""
    return (
        settings.window == "hann"
        and settings.win_length == settings.n_fft
        and settings.hop_length * _OVERLAP == settings.n_fft
    )


@compiled(fastmath=True)
def features_of(
    magnitude: NDArray[np.float32], level: NDArray[np.float32], places: NDArray[np.int32]
) -> NDArray[np.float32]:
    """What the network sees of cells.

    Args:
        magnitude: Shape (n_frames, n_freqs).
        level: Its natural logarithm.
        places: Cells in the flat magnitude, shape (n_cells,).

    Returns:
        Shape (n_cells, 72): the levels around each cell, relative to its own, clipped and scaled; then the magnitudes
        around it, relative to their root mean square. Frames beyond the ends repeat the last one, frequencies beyond
        the ends are mirrored, as the spectrum of a real signal is.
    """
    n_frames, n_freqs = magnitude.shape
    n_around = SIDE * SIDE
    features = np.empty((len(places), 2 * n_around), np.float32)
    for i in range(len(places)):
        frame = places[i] // n_freqs
        k = places[i] - frame * n_freqs
        row = features[i]
        inside = BEFORE <= k < n_freqs - (SIDE - BEFORE - 1)
        for n in range(SIDE):
            there = min(max(frame + n - BEFORE, 0), n_frames - 1)
            for m in range(SIDE):
                j = k + m - BEFORE
                if not inside:
                    j = abs(j)
                    j = 2 * n_freqs - 2 - j if j >= n_freqs else j
                    j = min(max(j, 0), n_freqs - 1)
                row[n * SIDE + m] = level[there, j]
                row[n_around + n * SIDE + m] = magnitude[there, j]
        here = level[frame, k]
        power = np.float32(1e-30)
        for n in range(n_around):
            row[n] = _SCALE * min(max(row[n] - here, -_CLIP), _CLIP)
        for n in range(n_around, 2 * n_around):
            power += row[n] * row[n]
        gain = np.float32(1.0) / np.sqrt(power / np.float32(n_around))
        for n in range(n_around, 2 * n_around):
            row[n] *= gain
    return features


def _pghi_slopes() -> Tensor:
    """PGHI's steps as a linear function of the clipped and scaled levels, shape (2, 36)."""
    slopes = torch.zeros(2, SIDE, SIDE)
    # One hop over the Gaussian's width: hop_length n_fft / gamma with hop_length = n_fft / 4.
    ratio = 1.0 / (_OVERLAP * GAUSSIAN["hann"])
    for step in (0, 1):
        for frame, bin_, sign in ((0, 1, 0.25), (0, -1, -0.25)):
            slopes[0, BEFORE + frame + step, BEFORE + bin_] += sign * ratio
        for frame, bin_, sign in ((1, 0, -0.25), (-1, 0, 0.25)):
            slopes[1, BEFORE + frame, BEFORE + bin_ + step] += sign / ratio
    return slopes.flatten(1) / float(_SCALE)


def true_steps(stft: Tensor) -> Tensor:
    """Steps of a known phase, to learn from.

    Args:
        stft: Complex, shape (n_frames, n_freqs), phase counted from the beginning of the frame.

    Returns:
        e^(i d), shape (n_frames - 1, n_freqs - 1, 2), as `PhaseSteps` counts d.
    """
    turns = torch.arange(stft.shape[1]) * (2.0 * math.pi / _OVERLAP)
    in_time = stft[1:, :-1] * stft[:-1, :-1].conj() * torch.polar(torch.ones_like(turns), -turns)[:-1]
    # From the beginning of the frame to its middle is a turn of pi a bin.
    in_frequency = -stft[:-1, 1:] * stft[:-1, :-1].conj()
    return torch.stack([in_time, in_frequency], dim=-1).sgn_()
