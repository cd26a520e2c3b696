"""Images to sound, and what was lost on the way."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import pad

from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import (
    ImageScale,
    db_from_image,
    db_from_magnitude,
    image_from_db,
    magnitude_from_db,
    magnitude_from_waveform,
)


def waveform_from_image(images: Tensor, scale: ImageScale, reconstruct: Callable[[Tensor], Tensor]) -> Tensor:
    """Turn what a GAN makes into sound, at the level that its scale says.

    Args:
        images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].
        scale: Which levels -1 and 1 are.
        reconstruct: Magnitude (batch, n_freqs + 1, n_frames) to waveform (batch, n_samples), e.g. a `DeepGriffinLim`.

    Returns:
        Shape (batch, n_samples).
    """
    return reconstruct(magnitude_from_db(db_from_image(images[:, 0].float(), scale)))


def image_from_waveform(waveform: Tensor, settings: SpectrogramSettings, scale: ImageScale) -> Tensor:
    """The image of what `waveform_from_image` made: the image as it is heard.

    Frames that reach over the ends see the cut and not the sound; they are like their nearest neighbour that does not.

    Args:
        waveform: Shape (batch, n_samples).
        settings: The grid.
        scale: Which levels -1 and 1 are.

    Returns:
        Shape (batch, 1, n_freqs - 1, 1 + n_samples // hop_length), in [-1, 1].
    """
    level_db = db_from_magnitude(magnitude_from_waveform(waveform, settings), top_db=None)
    images = image_from_db(level_db, scale)[:, None]
    n_edge = min(-(-settings.n_fft // (2 * settings.hop_length)), (images.shape[-1] - 1) // 2)
    return pad(images[..., n_edge : images.shape[-1] - n_edge], (n_edge, n_edge, 0, 0), mode="replicate")
