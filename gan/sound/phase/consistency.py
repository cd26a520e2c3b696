"""The projection onto what real signals can have as an STFT, and the magnitude's restoration, in one pass.

Griffin and Lim's iteration is this pass over and over. All that is not a Fourier transform is memory traffic, so the
frames are worked through in pieces that stay in a processor's cache.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from gan.sound.phase.compiled import compiled
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import overlap_add_, padded_window, squared_window_sum

# A megabyte of float32 on a CPU, about a core's cache; on an accelerator what still fits beside others.
_PIECE_SAMPLES = 1 << 18
_PIECE_SAMPLES_ON_DEVICE = 1 << 25
_ONE = np.float32(1.0)
_TINY = np.float32(1e-30)


class Consistency:
    """Waveforms and their STFTs, frame after frame in memory.

    Waveforms here begin half an n_fft before the first frame's middle and are silent outside of the recording, as when
    the magnitude was made.

    Args:
        settings: The grid.
        target: Magnitudes to restore, shape (batch, n_frames, n_freqs), float32, contiguous.
        first_frame: Which frame of the recording the first one is.
        n_samples: Length of the recording.
    """

    def __init__(self, settings: SpectrogramSettings, target: Tensor, n_samples: int, first_frame: int = 0) -> None:
        self.settings = settings
        self.target = target
        n_frames = target.shape[1]
        self._n_parts = -(-settings.n_fft // settings.hop_length)
        self._window = padded_window(settings, target.device)
        window_sum = squared_window_sum(settings, n_frames, target.device)
        length = (n_frames + self._n_parts - 1) * settings.hop_length
        self._gain = pad(window_sum.reciprocal_(), (0, length - len(window_sum)))
        start = settings.n_fft // 2 - first_frame * settings.hop_length
        self._gain[: max(0, start)] = 0.0
        self._gain[max(0, start + n_samples) :] = 0.0
        self.start = start

    def waveform_from_stft(self, stft: Tensor) -> Tensor:
        """Waveforms whose STFTs are nearest (Griffin and Lim 1984, eq. 6).

        Args:
            stft: Complex, shape (batch, n_frames, n_freqs).

        Returns:
            Shape (batch, length).
        """
        waveform = self._silence()
        for rows, frames in self._pieces():
            self._add(stft[rows, frames], waveform, rows, frames)
        return waveform.mul_(self._gain)

    def iterate(self, waveform: Tensor, n_iter: int, momentum: float, relaxation: float) -> Tensor:
        """Fast Griffin-Lim (Perraudin, Balazs, Soendergaard 2013, algorithm 2), and a little beyond.

        Args:
            waveform: As of `waveform_from_stft`.
            n_iter: Number of iterations.
            momentum: alpha of c_n = t_n + alpha (t_n - t_{n-1}).
            relaxation: How far to go from c_n to what has the target's magnitude: 1 there, more beyond it.

        Returns:
            Waveforms of the same shape.
        """
        previous = waveform
        for _ in range(n_iter):
            # Linear transforms let t_n + alpha (t_n - t_{n-1}) be formed of waveforms, a tenth of the numbers.
            moved = torch.lerp(previous, waveform, 1.0 + momentum)
            frames_of = moved.unfold(-1, self.settings.n_fft, self.settings.hop_length)
            previous, waveform = waveform, self._silence()
            for rows, frames in self._pieces():
                stft = torch.fft.rfft(frames_of[rows, frames] * self._window)
                _restore_(stft, self.target[rows, frames], relaxation)
                self._add(stft, waveform, rows, frames)
            waveform.mul_(self._gain)
        return waveform

    def _silence(self) -> Tensor:
        return self.target.new_zeros(len(self.target), len(self._gain))

    def _pieces(self) -> Iterator[tuple[slice, slice]]:
        """Rows and frames that are worked on together: some frames of one row, or all frames of some rows."""
        n_rows, n_frames, _ = self.target.shape
        samples = _PIECE_SAMPLES if self.target.device.type == "cpu" else _PIECE_SAMPLES_ON_DEVICE
        size = max(1, samples // self.settings.n_fft)
        for row in range(0, n_rows, n_together := max(1, size // n_frames)):
            for frame in range(0, n_frames, size):
                yield slice(row, row + n_together), slice(frame, min(frame + size, n_frames))

    def _add(self, stft: Tensor, waveform: Tensor, rows: slice, frames: slice) -> None:
        """Add the frames of an STFT to waveforms where they overlap."""
        total = waveform[rows].unflatten(-1, (-1, self.settings.hop_length))  # type: ignore[no-untyped-call]
        there = total[:, frames.start : frames.stop + self._n_parts - 1]
        overlap_add_(there, torch.fft.irfft(stft, n=self.settings.n_fft).mul_(self._window))


def _restore_(stft: Tensor, magnitude: Tensor, relaxation: float) -> None:
    """Bring an STFT's magnitude to another one, or as far beyond it as relaxation is above 1; its phase stays."""
    if stft.device.type != "cpu":
        _restore_on_device(stft, magnitude, relaxation)
        return
    n_freqs = magnitude.shape[-1]
    numbers = torch.view_as_real(stft).reshape(-1, 2 * n_freqs).numpy()
    _restore_rows(numbers, magnitude.view(-1, n_freqs).numpy(), np.float32(relaxation))


def _restore_on_device(stft: Tensor, magnitude: Tensor, relaxation: float) -> None:
    stft.lerp_(stft.sgn().mul_(magnitude), relaxation)


@compiled(fastmath=True)
def _restore_rows(stft: NDArray[np.float32], magnitude: NDArray[np.float32], relaxation: np.float32) -> None:
    # Two plain loops a row, both of which the compiler turns into vector instructions; one loop over complex numbers it
    # does not. Constants are float32, or all would be computed in double. What diverges may become infinite or none.
    n_freqs = magnitude.shape[1]
    kept = _ONE - relaxation
    gain = np.empty(n_freqs, np.float32)
    for frame in range(magnitude.shape[0]):
        row = stft[frame]
        for k in range(n_freqs):
            power = row[2 * k] * row[2 * k] + row[2 * k + 1] * row[2 * k + 1]
            gain[k] = kept + relaxation * (magnitude[frame, k] / np.sqrt(power + _TINY))
        for k in range(n_freqs):
            row[2 * k] *= gain[k]
            row[2 * k + 1] *= gain[k]
