"""The frequency axes of librosa's figures."""

from collections.abc import Callable
from typing import Literal

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


def place_on_axis(frequencies: NDArray[np.floating], kind: Literal["linear", "log", "mel"]) -> NDArray[np.float64]:
    """Places of frequencies in Hz on an axis of librosa's, to a factor and an offset."""
    if kind == "linear":
        return np.asarray(frequencies, np.float64)
    return _symlog(frequencies, *(_LOG if kind == "log" else _MEL))


def frequencies_on_axis(places: NDArray[np.floating], kind: Literal["linear", "log", "mel"]) -> NDArray[np.float64]:
    """The inverse of `place_on_axis`."""
    if kind == "linear":
        return np.asarray(places, np.float64)
    linear_up_to, linear_scale = _LOG if kind == "log" else _MEL
    adjusted = linear_scale / (1 - 1 / 2)
    magnitude = np.abs(places)
    exponent = np.maximum(magnitude / linear_up_to - adjusted, 0)
    values: NDArray[np.float64] = np.sign(places) * np.where(
        magnitude <= linear_up_to * adjusted, magnitude / adjusted, linear_up_to * 2.0**exponent
    )
    return values


def _scaled(frequencies: NDArray[np.floating], linear_up_to: float, linear_scale: float) -> Edges:
    """matplotlib.scale.SymmetricalLogTransform with base 2, moved to [0, 1]."""
    scaled = _symlog(frequencies, linear_up_to, linear_scale)
    placed: Edges = (scaled - scaled[0]) / (scaled[-1] - scaled[0])
    return placed


def _symlog(frequencies: NDArray[np.floating], linear_up_to: float, linear_scale: float) -> NDArray[np.float64]:
    magnitude = np.abs(frequencies)
    adjusted = linear_scale / (1 - 1 / 2)
    logarithmic = linear_up_to * (adjusted + np.log2(np.maximum(magnitude, linear_up_to) / linear_up_to))
    values: NDArray[np.float64] = np.sign(frequencies) * np.where(
        magnitude <= linear_up_to, magnitude * adjusted, logarithmic
    )
    return values
