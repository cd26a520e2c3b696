"""The short-time Fourier transform, levels in dB, and the image that a GAN sees.

Shapes: waveform (..., n_samples), stft and magnitude (..., n_freqs, n_frames), image (..., n_fft // 2, n_frames).
Frequency index 0 is the lowest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.errors import InputError
from gan.sound.settings import SpectrogramSettings, Window

_WINDOWS: dict[Window, Callable[..., Tensor]] = {
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
    "blackman": torch.blackman_window,
}


def padded_window(settings: SpectrogramSettings, device: torch.device | None = None) -> Tensor:
    """The window in the middle of n_fft samples, shape (n_fft,), float32."""
    # Computed in double: librosa's windows are, and the difference would be the largest one between the two.
    window = _WINDOWS[settings.window](settings.win_length, periodic=True, dtype=torch.float64)
    left = (settings.n_fft - settings.win_length) // 2
    return pad(window, (left, settings.n_fft - settings.win_length - left)).to(device, torch.float32)


def overlap_add(frames: Tensor, hop_length: int) -> Tensor:
    """Add up frames that start every hop_length samples.

    Args:
        frames: Shape (..., n_frames, frame_length).
        hop_length: Samples from one frame to the next.

    Returns:
        Shape (..., (n_frames - 1) * hop_length + frame_length).
    """
    n_frames, frame_length = frames.shape[-2:]
    n_parts = -(-frame_length // hop_length)
    total = frames.new_zeros(*frames.shape[:-2], n_frames + n_parts - 1, hop_length)
    overlap_add_(total, frames)
    return total.flatten(-2)[..., : (n_frames - 1) * hop_length + frame_length]


def overlap_add_(total: Tensor, frames: Tensor) -> None:
    """Add frames to what is there already.

    Args:
        total: Shape (..., n_frames + ceil(frame_length / hop_length) - 1, hop_length), changed.
        frames: Shape (..., n_frames, frame_length).
    """
    hop_length = total.shape[-1]
    n_frames, frame_length = frames.shape[-2:]
    n_parts = -(-frame_length // hop_length)
    # Frames are cut into pieces of one hop: the sum is then n_parts shifted additions of whole rows, far faster than
    # torch's fold and the same on every device.
    missing = n_parts * hop_length - frame_length
    pieces = (pad(frames, (0, missing)) if missing else frames).reshape(*frames.shape[:-1], n_parts, hop_length)
    for part in range(n_parts):
        total[..., part : part + n_frames, :] += pieces[..., part, :]


def squared_window_sum(settings: SpectrogramSettings, n_frames: int, device: torch.device | None = None) -> Tensor:
    """What overlapping windows, applied twice, add up to: the divisor of the inverse STFT.

    Returns:
        Shape ((n_frames - 1) * hop_length + n_fft,); 1 where no window reaches.
    """
    window = padded_window(settings, device).square()
    total = overlap_add(window.expand(n_frames, -1), settings.hop_length)
    return torch.where(total > torch.finfo(total.dtype).tiny, total, 1.0)


def stft(waveform: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Short-time Fourier transform, as librosa.stft(center=True, pad_mode="constant").

    Args:
        waveform: Shape (..., n_samples), float32.
        settings: The grid.

    Returns:
        Complex, shape (..., n_freqs, 1 + n_samples // hop_length).
    """
    half = settings.n_fft // 2
    frames = pad(waveform, (half, half)).unfold(-1, settings.n_fft, settings.hop_length)
    spectra: Tensor = torch.fft.rfft(frames * padded_window(settings, waveform.device))
    return spectra.transpose(-1, -2)


def istft(stft: Tensor, settings: SpectrogramSettings, n_samples: int | None = None) -> Tensor:
    """Inverse of `stft`: the waveform whose STFT is nearest, as librosa.istft (Griffin and Lim 1984, eq. 6).

    Args:
        stft: Complex, shape (..., n_freqs, n_frames).
        settings: The grid.
        n_samples: Length of the result; None for `settings.n_samples(n_frames)`.

    Returns:
        Shape (..., n_samples).
    """
    n_frames = stft.shape[-1]
    frames = torch.fft.irfft(stft.transpose(-1, -2), n=settings.n_fft)
    frames *= padded_window(settings, stft.device)
    waveform = overlap_add(frames, settings.hop_length) / squared_window_sum(settings, n_frames, stft.device)
    n_samples = settings.n_samples(n_frames) if n_samples is None else n_samples
    waveform = waveform[..., settings.n_fft // 2 :][..., :n_samples]
    return pad(waveform, (0, n_samples - waveform.shape[-1]))


def magnitude_from_waveform(waveform: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Absolute value of the STFT.

    Args:
        waveform: Shape (..., n_samples), float32, full scale 1.
        settings: The grid.

    Returns:
        Shape (..., n_freqs, n_frames), linear amplitude >= 0.
    """
    return stft(waveform, settings).abs()


def db_from_magnitude(magnitude: Tensor, ref: float = 1.0, amin: float = 1e-5, top_db: float | None = 80.0) -> Tensor:
    """Level in dB, as librosa.amplitude_to_db.

    Args:
        magnitude: Linear amplitude >= 0, any shape.
        ref: Amplitude of 0 dB.
        amin: Smallest amplitude that is told from zero.
        top_db: Lift everything to this many dB below the loudest value of the whole tensor; None to keep it.

    Returns:
        20 log10(magnitude / ref), same shape.
    """
    level_db = 20.0 * torch.log10(magnitude.clamp_min(amin) / max(amin, ref))
    return level_db if top_db is None else level_db.clamp_min(float(level_db.max()) - top_db)


def magnitude_from_db(level_db: Tensor, ref: float = 1.0) -> Tensor:
    """Linear amplitude, as librosa.db_to_amplitude: the inverse of `db_from_magnitude`."""
    return ref * torch.pow(10.0, 0.05 * level_db)


@dataclass(frozen=True)
class ImageScale:
    """How levels become the [-1, 1] of an image: the range_db below top_db.

    A choice of the training, not of the image files, which keep more.

    Attributes:
        top_db: Level of the value 1, in dB (0 dB is a magnitude of 1).
        range_db: dB from the value -1 to the value 1.
    """

    top_db: float
    range_db: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.range_db <= 300:
            raise InputError(f"range_db is {self.range_db}; it must lie in (0, 300], 80 is usual")


def image_from_db(level_db: Tensor, scale: ImageScale) -> Tensor:
    """Image of a spectrogram, without its highest frequency (Nyquist's), so that the height is a power of two.

    Args:
        level_db: Shape (..., n_freqs, n_frames), dB.
        scale: The range; what lies outside is clipped.

    Returns:
        Shape (..., n_freqs - 1, n_frames), in [-1, 1].
    """
    return ((level_db[..., :-1, :] - scale.top_db) * (2.0 / scale.range_db) + 1.0).clamp(-1.0, 1.0)


def db_from_image(image: Tensor, scale: ImageScale) -> Tensor:
    """Inverse of `image_from_db`; the highest frequency comes back at the floor.

    Args:
        image: Shape (..., n_freqs - 1, n_frames), in [-1, 1].
        scale: The range.

    Returns:
        Shape (..., n_freqs, n_frames), dB.
    """
    return (pad(image, (0, 0, 0, 1), value=-1.0) - 1.0) * (0.5 * scale.range_db) + scale.top_db
