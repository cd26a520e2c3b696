"""Mel spectrograms back to linear ones."""

import warnings

import numpy as np
import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound.settings import MelBands, SpectrogramSettings

# Frames solved at a time, so that the iterates of a long sound stay in the cache.
_BLOCK = 256
_CHECK_EVERY = 20
_MAX_ITERATIONS = 25 * _CHECK_EVERY
# Relative change of a frame's solution in one iteration at which it is done.
_TOLERANCE = 1e-6
# Part of the filters' largest squared singular value that keeps nearly empty bands from being taken as seriously as
# full ones: without it, the floor of 80 dB in a band that hardly sees its frequency becomes a loud tone.
_REGULARISATION = 0.01


def mel_filters(bands: MelBands, settings: SpectrogramSettings) -> Tensor:
    """Weights of the frequencies in each band, as librosa.filters.mel.

    Args:
        bands: The bands. One that is narrower than the spacing of the frequencies may be empty: all zeros.
        settings: The linear grid.

    Returns:
        Shape (n_mels, n_freqs), float32, >= 0.
    """
    from librosa.filters import mel

    with warnings.catch_warnings():
        # Whoever reads the bands says so in the user's words.
        warnings.filterwarnings("ignore", "Empty filters detected")
        filters = mel(
            sr=settings.sample_rate,
            n_fft=settings.n_fft,
            n_mels=bands.n_mels,
            fmin=bands.min_hz,
            fmax=bands.max_hz,
            htk=bands.htk,
            norm=bands.norm,
            dtype=np.float32,
        )
    return torch.from_numpy(filters)


def band_averages(n_mels: int, settings: SpectrogramSettings) -> Tensor:
    """Weights that average the frequencies of an image in mel bands over the whole range.

    Args:
        n_mels: Number of bands; those narrower than the spacing of the frequencies are left out.
        settings: The linear grid.

    Returns:
        Shape (n_bands, n_freqs - 1), float32, >= 0; each band's add up to 1.
    """
    filters = mel_filters(MelBands(n_mels, 0.0, settings.sample_rate / 2, norm=None), settings)[:, :-1]
    filters = filters[filters.amax(1) > 0]
    return filters / filters.sum(1, keepdim=True)


@torch.no_grad()
def magnitude_from_mel(mel: Tensor, bands: MelBands, settings: SpectrogramSettings) -> Tensor:
    """Linear magnitude whose mel spectrogram is the given one, by non-negative least squares.

    As librosa.feature.inverse.mel_to_stft, but not by its solver: L-BFGS with one correction per frequency asks for
    155 GiB for a 5 s picture of riffusion's (8821 frequencies), and its absolute tolerance ends it at once for quiet
    sounds, where its result is the clipped pseudo-inverse.

    Args:
        mel: Amplitude >= 0, shape (..., n_mels, n_frames); where `bands.power` is 2 the square root of the power.
        bands: The bands.
        settings: The linear grid.

    Returns:
        Linear amplitude >= 0, shape (..., n_freqs, n_frames), float32, on the same device. Frequencies that no band
        sees are 0.

    Raises:
        InputError: If the number of bands is another one, or no band sees any frequency.
    """
    if mel.shape[-2] != bands.n_mels:
        raise InputError(f"the mel spectrogram has {mel.shape[-2]} bands where {bands.n_mels} were expected")
    filters = mel_filters(bands, settings).to(mel.device)
    if not filters.any():
        raise InputError(
            f"no mel band from {bands.min_hz:g} to {bands.max_hz:g} Hz has a frequency of n_fft {settings.n_fft} at "
            f"{settings.sample_rate} Hz; is one of these numbers wrong?"
        )
    frames = mel.float().movedim(-2, 0)
    columns = frames.flatten(1)
    # Every frame at the same level, so that a quiet one is solved as well as a loud one and no square underflows.
    loudest = columns.amax(0)
    scaled = (columns / loudest.clamp_min(torch.finfo(torch.float32).tiny)).pow(bands.power)
    magnitude = nonnegative_least_squares(filters, scaled).pow(1.0 / bands.power).mul_(loudest)
    return magnitude.reshape(len(magnitude), *frames.shape[1:]).movedim(0, -2)


def nonnegative_least_squares(filters: Tensor, targets: Tensor) -> Tensor:
    """Find the x >= 0 that brings A x nearest to b, for every column b.

    FISTA with constant step (Beck and Teboulle 2009, eq. 4.1 to 4.3) from x = 0. The distance is that of the metric
    (A A^T + lambda I)^-1, whose gradient is P (A x - b) with the regularised pseudo-inverse P = A^T (A A^T + lambda
    I)^-1. Its Lipschitz constant is below 1 and it is steep in nearly all directions, so that 20 to 150 iterations do.
    Where A x = b has solutions, as for every mel spectrogram of a sound, they are those of plain least squares.

    Args:
        filters: A >= 0, shape (n_mels, n_freqs).
        targets: b >= 0, shape (n_mels, n_columns), of about the same size in every column.

    Returns:
        x, shape (n_freqs, n_columns); 0 where no filter is above 0.
    """
    seen = filters.amax(0) > 0
    A = filters[:, seen]
    gram = (A @ A.T).double()
    damping = _REGULARISATION * torch.linalg.matrix_norm(gram, 2) * torch.eye(len(gram)).to(gram)
    P = torch.linalg.solve(gram + damping, A.double()).T.to(A.dtype)
    solution = targets.new_zeros(filters.shape[1], targets.shape[1])
    solution[seen] = torch.cat([_fista(A, P, part) for part in torch.split(targets, _BLOCK, dim=1)], dim=1)
    return solution


def _fista(A: Tensor, P: Tensor, b: Tensor) -> Tensor:
    solution = b.new_zeros(A.shape[1], b.shape[1])
    # Columns that are done leave: most need a quarter of the iterations that the slowest ones need.
    left = torch.arange(b.shape[1], device=b.device)
    x = y = torch.zeros_like(solution)
    t = 1.0
    for iteration in range(1, _MAX_ITERATIONS + 1):
        x_next = torch.addmm(y, P, A @ y - b, alpha=-1).clamp_min_(0)
        if iteration % _CHECK_EVERY == 0:
            solution[:, left] = x_next
            going = (x_next - y).norm(dim=0) > _TOLERANCE * x_next.norm(dim=0)
            if not going.any():
                break
            left, b, x, x_next = left[going], b[:, going], x[:, going], x_next[:, going]
        t_next = (1 + (1 + 4 * t**2) ** 0.5) / 2
        y = torch.lerp(x, x_next, 1 + (t - 1) / t_next)
        x, t = x_next, t_next
    return solution
