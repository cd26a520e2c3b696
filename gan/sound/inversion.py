"""Images to sound."""

from collections.abc import Callable

from torch import Tensor

from gan.sound.spectrogram import ImageScale, db_from_image, magnitude_from_db


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
