"""Stored pixels as what a GAN sees, in [-1, 1]."""

import copy
import math

import numpy as np
import torch
from torch import Tensor

from gan.data.store import ImageStore
from gan.sound.spectrogram import ImageScale


class Levels:
    """Turns pixels of a store into [-1, 1]: quantisation step, each image's level and the scale in one step.

    Args:
        store: Whose pixels.
        scale: Which levels become -1 and 1.
        equal_levels: Whether every image's loudest cell becomes 1, whatever its level is.
    """

    def __init__(self, store: ImageStore, scale: ImageScale, equal_levels: bool) -> None:
        settings = store.settings
        level_db = np.array([-math.inf if level is None else level for level in store.images.level_db])
        if equal_levels:
            level_db[np.isfinite(level_db)] = scale.top_db
        # image = code * gain + offset, before the scale of each frequency.
        gain = -settings.floor_db / (2**settings.bits - 1) * 2 / scale.range_db
        offset = (level_db + settings.floor_db - scale.top_db) * 2 / scale.range_db + 1
        self._offset = torch.from_numpy(np.maximum(offset, -1e6).astype(np.float32))
        # Of each frequency, what that [-1, 1] is multiplied with and raised by, and where its ends come to lie.
        self._slope, self._shift = torch.ones(1, 1), torch.zeros(1, 1)
        if scale.mean_db is not None:
            centre_db, reach_db = scale.centre_and_reach_db()
            self._slope = (0.5 * scale.range_db / reach_db)[:, None]
            self._shift = ((0.5 * (scale.floor_db + scale.top_db) - centre_db) / reach_db)[:, None]
        self._gain = gain * self._slope
        self.lowest = (self._shift - self._slope).clamp(-1.0, 1.0)
        self._highest = (self._shift + self._slope).clamp(-1.0, 1.0)

    def to(self, device: torch.device) -> "Levels":
        """The same on a device."""
        moved = copy.copy(self)
        moved.__dict__ |= {name: value.to(device) for name, value in self.__dict__.items()}
        return moved

    def __call__(self, codes: Tensor, chosen: Tensor) -> Tensor:
        """Turn pixels into what they stand for.

        Args:
            codes: Shape (batch, n_freqs - 1, n_frames), float, changed in place.
            chosen: Shape (batch,), the image of the store that each is of.

        Returns:
            The same tensor, in [-1, 1].
        """
        images = codes.mul_(self._gain).add_(self._offset[chosen, None, None] * self._slope + self._shift)
        # Not clamp, which is ten times as slow with tensors.
        torch.maximum(images, self.lowest, out=images)
        return torch.minimum(images, self._highest, out=images)
