"""The frequency axes of librosa's figures."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.grid import Edges, Ends

# matplotlib's symmetric logarithmic scale as librosa.display.specshow sets it: (linear up to, Hz; linscale), base 2.
_LOG = (65.40639132514966, 0.5)
_MEL = (1000.0, 1.0)


def log_edges(sample_rate: float) -> Callable[[int, Ends], Edges]:
    """Edges of STFT rows on librosa's y_axis="log", from 0 (bottom) to 1, by number of rows and ends."""

    def edges(n: int, ends: Ends) -> Edges:
        width = sample_rate / 2 / (n - 1)
        places = (np.arange(n + 1) - 0.5) * width
        if ends == "clipped":
            places = places.clip(0, sample_rate / 2)
        return _scaled(places, *_LOG)

    return edges


def mel_edges(min_hz: float, max_hz: float) -> Callable[[int, Ends], Edges]:
    """Edges of mel bands on librosa's y_axis="mel", from 0 (bottom) to 1, by number of bands and ends."""
    from librosa import mel_frequencies

    def edges(n: int, ends: Ends) -> Edges:
        centres = mel_frequencies(n_mels=n, fmin=min_hz, fmax=max_hz)
        middles = 0.5 * (centres[1:] + centres[:-1])
        first, last = centres[0], centres[-1]
        if ends == "whole":
            first, last = 1.5 * centres[0] - 0.5 * centres[1], 1.5 * centres[-1] - 0.5 * centres[-2]
        return _scaled(np.concatenate([[first], middles, [last]]), *_MEL)

    return edges


def scaled(frequencies: NDArray[np.floating], low: float, high: float) -> Edges:
    """Places of frequencies in Hz on librosa's y_axis="log" between two others, from 0 to 1."""
    ends = np.array([low, high])
    return _scaled(np.concatenate([ends[:1], frequencies, ends[1:]]), *_LOG)[1:-1]


def _scaled(frequencies: NDArray[np.floating], linear_up_to: float, linear_scale: float) -> Edges:
    """matplotlib.scale.SymmetricalLogTransform with base 2, moved to [0, 1]."""
    magnitude = np.abs(frequencies)
    adjusted = linear_scale / (1 - 1 / 2)
    logarithmic = linear_up_to * (adjusted + np.log2(np.maximum(magnitude, linear_up_to) / linear_up_to))
    scaled = np.sign(frequencies) * np.where(magnitude <= linear_up_to, magnitude * adjusted, logarithmic)
    placed: Edges = (scaled - scaled[0]) / (scaled[-1] - scaled[0])
    return placed
