"""How near a waveform's spectrogram comes to the one that was asked for."""

import torch
from torch import Tensor

from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform


def spectral_convergence_db(waveform: Tensor, magnitude: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Spectral convergence, 20 log10(|| |STFT(waveform)| - magnitude || / || magnitude ||) (Sturmel and Daudet 2011).

    Args:
        waveform: Shape (..., n_samples).
        magnitude: Shape (..., n_freqs, n_frames); its last frames are left out where the waveform has none.
        settings: The grid.

    Returns:
        Shape (...), dB; the lower the nearer, NaN for silence.
    """
    reached = magnitude_from_waveform(waveform, settings)
    magnitude = magnitude[..., : reached.shape[-1]]
    error = torch.linalg.matrix_norm(reached[..., : magnitude.shape[-1]] - magnitude)
    return 20.0 * torch.log10(error / torch.linalg.matrix_norm(magnitude))
