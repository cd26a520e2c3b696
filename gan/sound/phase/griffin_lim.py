"""Fast Griffin-Lim: phase by alternating projections."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.errors import InputError
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import overlap_add, padded_window, squared_window_sum


class GriffinLim:
    """Waveform whose STFT has a given magnitude (Perraudin, Balazs, Soendergaard 2013, algorithm 2).

    Each iteration makes the STFT consistent (inverse and forward transform) and then restores the magnitude. Fast
    Griffin-Lim extrapolates between the two: c_n = t_n + alpha (t_n - t_{n-1}). Momentum 0 is the original (Griffin and
    Lim 1984), whose spectral convergence never gets worse from one iteration to the next.

    Args:
        settings: The grid that the magnitudes were made on.
        n_iter: Number of iterations.
        momentum: alpha, >= 0; librosa.griffinlim's meaning and default.
        seed: Seed of the random starting phase: the same magnitude gives the same waveform.

    Raises:
        InputError: If n_iter or momentum is negative.
    """

    def __init__(self, settings: SpectrogramSettings, n_iter: int = 32, momentum: float = 0.99, seed: int = 0) -> None:
        if n_iter < 0:
            raise InputError(f"n_iter is {n_iter}; it must be 0 or more, 32 is usual")
        if momentum < 0:
            raise InputError(f"momentum is {momentum}; it must be 0 or more, 0.99 is usual")
        self.settings = settings
        self.n_iter = n_iter
        self.momentum = momentum
        self.seed = seed

    @torch.no_grad()
    def __call__(self, magnitude: Tensor, n_samples: int | None = None) -> Tensor:
        """Reconstruct waveforms.

        Args:
            magnitude: Linear amplitude >= 0, shape (..., n_freqs, n_frames), any device.
            n_samples: Length of the result; None as in `istft`.

        Returns:
            Shape (..., n_samples), float32, on the same device.
        """
        settings = self.settings
        n_freqs, n_frames = magnitude.shape[-2:]
        if n_freqs != settings.n_freqs:
            raise InputError(f"the magnitude has {n_freqs} frequencies; n_fft {settings.n_fft} has {settings.n_freqs}")
        window = padded_window(settings, magnitude.device)
        window_sum = squared_window_sum(settings, n_frames, magnitude.device)
        half = settings.n_fft // 2
        # Samples that the STFT sees; what is outside of the recording is silence, as when the magnitude was made.
        length = settings.n_samples(n_frames) if n_samples is None else n_samples
        end = half + length
        # Frame after frame in memory: the transforms then run over contiguous rows.
        target = magnitude.to(torch.float32).transpose(-1, -2).contiguous()

        def waveform_of(stft: Tensor) -> Tensor:
            frames = torch.fft.irfft(stft, n=settings.n_fft)
            waveform = overlap_add(frames.mul_(window), settings.hop_length).div_(window_sum)
            waveform[..., :half] = 0.0
            waveform[..., end:] = 0.0
            return waveform

        phase = torch.rand(target.shape, generator=torch.Generator().manual_seed(self.seed)).mul_(2.0 * math.pi)
        estimate = torch.polar(target, phase.to(target.device))
        del phase
        previous: Tensor | None = None
        for _ in range(self.n_iter):
            frames = waveform_of(estimate).unfold(-1, settings.n_fft, settings.hop_length)
            consistent = torch.fft.rfft(frames * window)
            if previous is None:
                estimate = consistent.clone()
            else:
                # Only the direction counts, so (1 + alpha) t_n - alpha t_{n-1} may be divided by 1 + alpha.
                estimate = previous.mul_(-self.momentum / (1.0 + self.momentum)).add_(consistent)
            previous = consistent
            estimate.sgn_().mul_(target)
        waveform = waveform_of(estimate)[..., half:end]
        return pad(waveform, (0, length - waveform.shape[-1]))
