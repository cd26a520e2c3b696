"""What a picture of a spectrogram does not show, and what its reader may be told."""

from dataclasses import dataclass
from typing import Literal

from gan.errors import InputError
from gan.sound.settings import Window

YAxis = Literal["linear", "log", "mel"]
Values = Literal["db", "magnitude", "power"]


@dataclass(frozen=True)
class FigureOptions:
    """How to read pictures that do not carry their settings: figures of matplotlib, arrays, other programs' pictures.

    What is not given is found in the picture where the picture shows it.

    Attributes:
        sample_rate: Rate of the sound that was drawn, in Hz. No picture shows it.
        n_fft: Length of a Fourier transform in samples; from the number of rows if not given, 2048 where rows are too
            thin to be counted.
        hop_length: Samples from one column to the next; n_fft // 4 if not given. No picture shows it.
        win_length: Length of the window in samples; n_fft if not given.
        window: Shape of the window.
        range_db: dB from the darkest colour to the brightest (top_db of librosa.amplitude_to_db).
        seconds: Length of the sound; from the number of columns if not given, 60 for a picture without margins whose
            columns are too thin to be counted.
        y_axis: Frequency axis; found if not given.
        n_mels: Number of bands of a mel axis; found if not given.
        min_hz: Frequency at the bottom of the axis; 0 if not given.
        max_hz: Frequency at the top of the axis; half the sample rate if not given. Say it where the axis was cut
            (set_ylim), or mel bands end below (fmax).
        colormap: Name of matplotlib's colour map, e.g. gray, gray_r, viridis, magma; found if not given.
        upside_down: Whether low frequencies are at the top; found if not given (pictures of arrays only).
        box: Left, top, right and bottom of the spectrogram in pixels, right and bottom exclusive; found if not given.
        values: What the numbers of an array file (.npy, TIFF) or the colours of a picture are proportional to; found if
            not given. Of a picture that shows no dB it has to be given.

    Raises:
        InputError: If a number makes no sense.
    """

    sample_rate: int = 22050
    n_fft: int | None = None
    hop_length: int | None = None
    win_length: int | None = None
    window: Window = "hann"
    range_db: float = 80.0
    seconds: float | None = None
    y_axis: YAxis | None = None
    n_mels: int | None = None
    min_hz: float | None = None
    max_hz: float | None = None
    colormap: str | None = None
    upside_down: bool | None = None
    box: tuple[int, int, int, int] | None = None
    values: Values | None = None

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "win_length", "seconds", "n_mels", "max_hz"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e9:
                raise InputError(f"{name} is {value}; it must be above 0, and below 1e9")
        if self.min_hz is not None and not 0 <= self.min_hz < 1e9:
            raise InputError(f"min_hz is {self.min_hz}; it must be 0 or above, and below 1e9")
        if not 1 <= self.range_db <= 300:
            raise InputError(f"range_db is {self.range_db}; it must lie in [1, 300], 80 is usual")
        if self.box is not None and not (0 <= self.box[0] < self.box[2] and 0 <= self.box[1] < self.box[3]):
            raise InputError(f"box is {self.box}; it must be left, top, right, bottom in pixels")
