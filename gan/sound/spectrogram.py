"""Spectrogram settings, the short-time Fourier transform, levels in dB, and the image that a GAN sees.

Shapes: waveform (..., n_samples), stft and magnitude (..., n_freqs, n_frames), image (..., n_fft // 2, n_frames).
Frequency index 0 is the lowest.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.errors import InputError

Window = Literal["hann", "hamming", "blackman"]
Bits = Literal[8, 16]

_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "blackman": torch.blackman_window}


@dataclass(frozen=True)
class SpectrogramSettings:
    """The grid and the recorded range of a spectrogram: all that is needed to read one back.

    Attributes:
        sample_rate: Samples per second, in Hz.
        n_fft: Length of one Fourier transform in samples.
        hop_length: Samples from one frame to the next.
        win_length: Length of the window in samples, at most n_fft; it is padded with zeros on both sides to n_fft.
        window: Name of the (periodic) window.
        floor_db: Lowest level that is kept, in dB relative to the loudest cell of an image; negative.
        bits: Bits per cell of an image file.

    Raises:
        InputError: If the numbers contradict each other.
    """

    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    win_length: int = 2048
    window: Window = "hann"
    floor_db: float = -120.0
    bits: Bits = 16

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "win_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}; it must be a whole number above 0")
        if self.win_length > self.n_fft:
            raise InputError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}; make it {self.n_fft}")
        if self.hop_length > self.win_length // 2:
            raise InputError(
                f"hop_length {self.hop_length} is too long for a window of {self.win_length}: frames must overlap by "
                f"half or no sound can be made from them; use {self.win_length // 4}"
            )
        if self.window not in _WINDOWS:
            raise InputError(f"window is {self.window!r}; known are {', '.join(_WINDOWS)}")
        if not -300 <= self.floor_db < 0:
            raise InputError(f"floor_db is {self.floor_db}; it must lie in [-300, 0), -120 is usual")
        if self.bits not in (8, 16):
            raise InputError(f"bits is {self.bits}; it must be 8 or 16")

    @classmethod
    def like_librosa(
        cls, n_fft: int = 2048, hop_length: int | None = None, win_length: int | None = None, **others: Any
    ) -> Self:
        """Fill what is not given as librosa.stft does: win_length = n_fft, hop_length = win_length // 4."""
        win_length = n_fft if win_length is None else win_length
        hop_length = win_length // 4 if hop_length is None else hop_length
        return cls(n_fft=n_fft, hop_length=hop_length, win_length=win_length, **others)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            InputError: If a name is unknown or missing.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) != names:
            raise InputError(f"spectrogram settings {sorted(values)} were found where {sorted(names)} were expected")
        return cls(**values)

    def to_dict(self) -> dict[str, int | float | str]:
        """Plain numbers and strings, for JSON and checkpoints."""
        return dataclasses.asdict(self)

    @property
    def n_freqs(self) -> int:
        """Number of frequencies of an STFT, n_fft // 2 + 1."""
        return self.n_fft // 2 + 1

    def n_frames(self, n_samples: int) -> int:
        """Number of frames of an STFT of so many samples."""
        return 1 + (n_samples - self.n_fft % 2) // self.hop_length

    def n_samples(self, n_frames: int) -> int:
        """Number of samples that so many frames become when nothing else is known."""
        return self.hop_length * (n_frames - 1) + self.n_fft % 2


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
    # Frames are cut into pieces of one hop: the sum is then n_parts shifted additions of whole rows, far faster than
    # torch's fold and the same on every device.
    missing = n_parts * hop_length - frame_length
    pieces = (pad(frames, (0, missing)) if missing else frames).reshape(*frames.shape[:-1], n_parts, hop_length)
    total = frames.new_zeros(*frames.shape[:-2], n_frames + n_parts - 1, hop_length)
    for part in range(n_parts):
        total[..., part : part + n_frames, :] += pieces[..., part, :]
    return total.flatten(-2)[..., : (n_frames - 1) * hop_length + frame_length]


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
