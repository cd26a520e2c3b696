"""The grid of a spectrogram, linear or mel: plain numbers, known without torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from gan.errors import InputError
from gan.plain import made_of

Window = Literal["hann", "hamming", "blackman"]
Bits = Literal[8, 16]

# What files of sound and pictures can say.
_MOST = 2**31


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
            if type(value) is not int or not 1 <= value < _MOST:
                raise InputError(f"{name} is {value!r:.60}; it must be a whole number above 0, and below {_MOST}")
        if self.win_length > self.n_fft:
            raise InputError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}; make it {self.n_fft}")
        if self.hop_length > self.win_length // 2:
            raise InputError(
                f"hop_length {self.hop_length} is too long for a window of {self.win_length}: frames must overlap by "
                f"half or no sound can be made from them; use {self.win_length // 4}"
            )
        if self.window not in get_args(Window):
            raise InputError(f"window is {self.window!r}; known are {', '.join(get_args(Window))}")
        if not -300 <= self.floor_db < 0:
            raise InputError(f"floor_db is {self.floor_db}; it must lie in [-300, 0), -120 is usual")
        if type(self.bits) is not int or self.bits not in (8, 16):
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
        if isinstance(values, Mapping) and set(values) != names:
            found = sorted(map(str, values))
            raise InputError(f"spectrogram settings {found} were found where {sorted(names)} were expected")
        made: Self = made_of(cls, values, "settings")
        return made

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


@dataclass(frozen=True)
class MelBands:
    """Which mel filters a mel spectrogram was made with.

    Attributes:
        n_mels: Number of bands.
        min_hz: Lowest frequency.
        max_hz: Highest frequency.
        htk: Whether the scale is HTK's; Slaney's otherwise (librosa's default).
        norm: Filters of equal area ("slaney", librosa's default) or of peak 1 (None).
        power: 1 if the bands sum up amplitudes, 2 for powers (librosa's default).

    Raises:
        InputError: If the numbers make no sense.
    """

    n_mels: int
    min_hz: float
    max_hz: float
    htk: bool = False
    norm: Literal["slaney"] | None = "slaney"
    power: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        if self.n_mels < 1:
            raise InputError(f"n_mels is {self.n_mels}; it must be above 0, 128 is usual")
        if not 0 <= self.min_hz < self.max_hz:
            raise InputError(f"mel bands from {self.min_hz} to {self.max_hz} Hz; the second must be above the first")
