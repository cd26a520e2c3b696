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
# Standard deviations of a frequency's level from the value 0 to the values -1 and 1 of an image.
_REACH = 3.0


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
    """How levels become the [-1, 1] of an image: those from top_db to range_db below it are heard, others are clipped.

    With a mean and a deviation for each frequency, [-1, 1] is what lies within 3 deviations of a frequency's mean, so
    that quiet frequencies are as bright as loud ones (Donahue, McAuley and Puckette 2019, section 3.2). Without them
    it is the whole range_db, the same for all frequencies.

    A choice of the training, not of the image files, which keep more. Plain numbers, for JSON and checkpoints.

    Attributes:
        top_db: Highest level that is heard, in dB (0 dB is a magnitude of 1); without means, that of the value 1.
        range_db: dB from the lowest level that is heard to the highest.
        mean_db: Mean level of each frequency of an image, in dB; None for one scale for all frequencies.
        deviation_db: Standard deviation of each, in dB, above 0.

    Raises:
        InputError: If range_db makes no sense.
    """

    top_db: float
    range_db: float = 80.0
    mean_db: tuple[float, ...] | None = None
    deviation_db: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.range_db <= 300:
            raise InputError(f"range_db is {self.range_db}; it must lie in (0, 300], 80 is usual")
        if (self.mean_db is None) != (self.deviation_db is None):
            raise ValueError("mean_db and deviation_db go together")
        if self.mean_db is not None and self.deviation_db is not None:
            # JSON gives lists; tuples keep the scale hashable and equal to what it was.
            object.__setattr__(self, "mean_db", tuple(self.mean_db))
            object.__setattr__(self, "deviation_db", tuple(self.deviation_db))
            if len(self.mean_db) != len(self.deviation_db) or not min(self.deviation_db) > 0:
                raise ValueError("mean_db and deviation_db have a number for each frequency; deviations are above 0")

    @property
    def floor_db(self) -> float:
        """Lowest level that is heard, in dB."""
        return self.top_db - self.range_db

    def centre_and_reach_db(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Level of the value 0 and dB from there to the values -1 and 1, of a scale that has means.

        Returns:
            Two tensors, float32, shape (n_freqs - 1,).
        """
        centre_db, deviation_db = torch.tensor([self.mean_db, self.deviation_db], device=device)
        return centre_db, _REACH * deviation_db


def image_from_db(level_db: Tensor, scale: ImageScale) -> Tensor:
    """Image of a spectrogram, without its highest frequency (Nyquist's), so that the height is a power of two.

    Args:
        level_db: Shape (..., n_freqs, n_frames), dB.
        scale: The range; what lies outside is clipped.

    Returns:
        Shape (..., n_freqs - 1, n_frames), in [-1, 1].
    """
    level_db = level_db[..., :-1, :]
    if scale.mean_db is None:
        return ((level_db - scale.top_db) * (2.0 / scale.range_db) + 1.0).clamp(-1.0, 1.0)
    centre_db, reach_db = scale.centre_and_reach_db(level_db.device)
    heard_db = level_db.clamp(scale.floor_db, scale.top_db)
    return ((heard_db - centre_db[:, None]) / reach_db[:, None]).clamp(-1.0, 1.0)


def db_from_image(image: Tensor, scale: ImageScale) -> Tensor:
    """Inverse of `image_from_db`; the highest frequency comes back at the floor.

    Args:
        image: Shape (..., n_freqs - 1, n_frames), in [-1, 1].
        scale: The range; with a scale for each frequency, levels that are not heard come back at its ends.

    Returns:
        Shape (..., n_freqs, n_frames), dB.
    """
    if scale.mean_db is None:
        return (pad(image, (0, 0, 0, 1), value=-1.0) - 1.0) * (0.5 * scale.range_db) + scale.top_db
    centre_db, reach_db = scale.centre_and_reach_db(image.device)
    level_db = (image * reach_db[:, None] + centre_db[:, None]).clamp(scale.floor_db, scale.top_db)
    return pad(level_db, (0, 0, 0, 1), value=scale.floor_db)
