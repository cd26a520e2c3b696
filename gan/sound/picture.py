"""Any picture of a spectrogram, ours or somebody else's, as the magnitude that sound is made from."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gan.errors import InputError
from gan.sound.channel import MIX
from gan.sound.codec import decode_image, has_header
from gan.sound.figure.figure import Figure
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import read_figure
from gan.sound.settings import SpectrogramSettings


@dataclass(frozen=True)
class Picture:
    """A magnitude spectrogram that was read from a picture.

    Attributes:
        magnitude: Linear amplitude >= 0, shape (n_freqs, n_frames).
        settings: Its grid and range.
        n_samples: Length of the waveform.
        level_is_known: Whether magnitudes are those of the recording, and not only in proportion to them.
        start_second: Where it starts in its recording; None if the picture does not say.
        channel: Which channel of its recording it shows.
        figure: What was found in it; None for an image of `gan encode`.
    """

    magnitude: Tensor
    settings: SpectrogramSettings
    n_samples: int
    level_is_known: bool
    start_second: float | None
    channel: str | int
    figure: Figure | None


def read_picture(path: Path, options: FigureOptions) -> Picture:
    """Read an image of `gan encode`, or anything that `gan.sound.figure.reader.read_figure` can read.

    Raises:
        InputError: If it cannot be read or something has to be given.
    """
    if has_header(path):
        magnitude, header = decode_image(path)
        origin = header.origin
        start_second = None if origin is None else origin.start_second
        channel = MIX if origin is None else origin.channel
        return Picture(magnitude, header.settings, header.n_samples, True, start_second, channel, None)
    figure = read_figure(path, options)
    magnitude = figure.magnitude()
    if not bool(magnitude.isfinite().all()):
        raise InputError(f"{path}: its levels are not all finite numbers; make it again")
    n_samples = figure.settings.n_samples(magnitude.shape[1])
    return Picture(magnitude, figure.settings, n_samples, figure.level_db is not None, None, MIX, figure)
