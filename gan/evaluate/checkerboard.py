"""How loud the lines are that a generator's upsampling draws over all of its images."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Cycles that must fit into an axis for a period to be told from its neighbours.
_MIN_CYCLES = 8
# Neighbours, in cycles per axis: a Hann window lets nothing of a line through to them.
_NEIGHBOURS = (-3, -2, 2, 3)
# Deviation of noise that would count as nothing, a float's rounding: it keeps what is flat from being 0 over 0.
_NOTHING = 1e-7


class Checkerboard(NamedTuple):
    """Levels of the lines of each period above what lies next to them.

    Attributes:
        time_db: Period in frames to dB: lines along time. Heard as levels that beat sample_rate / (period hop_length)
            times a second.
        frequency_db: Period in frequency bins to dB: lines along frequency. Heard as what comes again after
            n_fft / (period sample_rate) seconds, a comb filter's pitch.
    """

    time_db: dict[int, float]
    frequency_db: dict[int, float]


def checkerboard(images: Tensor) -> Checkerboard:
    """Measure what is drawn over all images with the strides of an upsampling, periods 2, 4, 8, 16, ... pixels.

    A transposed convolution gives pixels other weights according to their place in the stride (Odena, Dumoulin and
    Olah 2016, "Deconvolution and checkerboard artifacts"). What all images have in common at the same place stays in
    their mean m. Along each axis, of n pixels, with the Hann window w of n - 2 pixels and H[i] = w[i] r[i]:

        r[i] = m[i] - (m[i - 1] + m[i + 1]) / 2                     the mean without its smooth part
        P(f) = mean over the other axis of |sum_i H[i] e^(-2 pi j f i)|^2
        level = 10 log10(P(1 / p)) - mean of 10 log10(P(1 / p + k / (n - 2))) over k = -3, -2, 2, 3

    for the periods p of which at least 8 fit into the axis. 0 dB are no lines: what images of noise have, up to a dB,
    and flat ones; smooth ones up to some dB for long periods. Less are gaps, as interpolation leaves them.

    Where the same lines have amplitude a in all images, and noise of deviation s in each of N images is all that there
    is else, the level is 10 log10(1 + a^2 N (n - 2) / (6 s^2)), and for p = 2 four times that fraction: numbers of
    different N cannot be compared.

    Args:
        images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1]; hundreds, generated.

    Returns:
        Levels of each period along both axes.
    """
    mean = images.double().mean(dim=(0, 1))
    return Checkerboard(_levels(mean), _levels(mean.T))


def _levels(mean: Tensor) -> dict[int, float]:
    """Along the last axis."""
    n = mean.shape[-1] - 2
    rough = mean[:, 1:-1] - 0.5 * (mean[:, :-2] + mean[:, 2:])
    window = torch.hann_window(n, dtype=torch.float64, device=mean.device)
    pixels = torch.arange(n, dtype=torch.float64, device=mean.device)

    def power_db(cycles: float) -> float:
        turns = torch.polar(window, -2 * math.pi * cycles / n * pixels)
        power = (rough.to(turns.dtype) @ turns).abs().square().mean()
        return 10 * math.log10(float(power) + _NOTHING**2 * n)

    periods = [2**octave for octave in range(1, 16) if 2**octave * _MIN_CYCLES <= mean.shape[-1]]
    return {
        period: power_db(n / period) - sum(power_db(n / period + k) for k in _NEIGHBOURS) / len(_NEIGHBOURS)
        for period in periods
    }
