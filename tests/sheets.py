"""Sheets of tests that train: matplotlib's axes take as long as the rest of a training of seconds."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gan.listen.picture import colour
from gan.listen.sheet import Sheet
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale


@cache
def _drawn(names: tuple[str, ...], n_frames: int, settings: SpectrogramSettings, scale: ImageScale) -> Sheet:
    return Sheet(names, n_frames, settings, scale)


def drawn_once(names: Sequence[str], n_frames: int, settings: SpectrogramSettings, scale: ImageScale) -> Sheet:
    """In place of `Sheet`: trainings of one process share the sheets that have the same axes and names."""
    return _drawn(tuple(names), n_frames, settings, scale)


class PlainSheet:
    """In place of `Sheet`: the images side by side, without axes and names, for processes that draw only once."""

    def __init__(self, *_: object) -> None:
        pass

    def draw(self, images: Tensor) -> NDArray[np.uint8]:
        """Shape (n_freqs, n * n_frames, 3)."""
        return np.concatenate([colour(image[0]) for image in images], axis=1)
