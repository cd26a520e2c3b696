"""Crops of stored images as batches, and which ones come when."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from gan.data.store import ImageStore
from gan.seed import derive_seed
from gan.sound.spectrogram import ImageScale


class Batch(NamedTuple):
    """What a loader gives.

    Attributes:
        images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].
        labels: Shape (batch,), int64, in [0, n_classes); None without labels.
    """

    images: Tensor
    labels: Tensor | None


class Crop(NamedTuple):
    """A stretch of n_frames frames of an image of the store."""

    image: int
    start: int


class CropDataset(Dataset[Batch]):
    """Crops of a store as images in [-1, 1]. An image shorter than a crop is followed by silence (-1).

    Args:
        store: The frames.
        scale: Which levels become -1 and 1.
        n_frames: Width of a crop.
        equal_levels: Whether every image's loudest cell becomes 1, whatever its level is.
        labels: Label of each image of the store; None for none.
    """

    def __init__(
        self,
        store: ImageStore,
        scale: ImageScale,
        n_frames: int,
        equal_levels: bool = False,
        labels: Tensor | None = None,
    ) -> None:
        self.store = store
        self.scale = scale
        self.n_frames = n_frames
        self.labels = labels
        settings = store.settings
        level_db = np.array([-math.inf if im.level_db is None else im.level_db for im in store.images])
        if equal_levels:
            level_db[np.isfinite(level_db)] = scale.top_db
        # image = code * gain + offset: quantisation step and level worked into the [-1, 1] of `image_from_db`.
        self._gain = -settings.floor_db / (2**settings.bits - 1) * 2 / scale.range_db
        offset = (level_db + settings.floor_db - scale.top_db) * 2 / scale.range_db + 1
        self._offset = torch.from_numpy(np.maximum(offset, -1e6).astype(np.float32))

    def __getitem__(self, crop: Crop) -> Batch:
        return self.__getitems__([crop])

    def __getitems__(self, crops: list[Crop]) -> Batch:
        """Read a whole batch at once."""
        # Without the highest frequency, so that the height is a power of two.
        n_freqs = self.store.settings.n_freqs - 1
        codes = np.empty((len(crops), self.n_frames, n_freqs), np.float32)
        widths = []
        for row, crop in enumerate(crops):
            stretch = self.store.codes(crop.image, crop.start, self._width(crop))
            codes[row, : len(stretch)] = stretch[:, :-1]
            widths.append(len(stretch))
        chosen = torch.tensor([crop.image for crop in crops])
        images = torch.from_numpy(codes).mul_(self._gain).add_(self._offset[chosen, None, None]).clamp_(-1.0, 1.0)
        for row, width in enumerate(widths):
            images[row, width:] = -1.0
        images = images.transpose(1, 2).unsqueeze(1).contiguous()
        return Batch(images, None if self.labels is None else self.labels[chosen])

    def _width(self, crop: Crop) -> int:
        return min(self.n_frames, self.store.images[crop.image].n_frames - crop.start)


class CropSampler(Sampler[list[Crop]]):
    """Random crops, batch after batch; which ones depends on the seed and the number of batches seen, on nothing else.

    An image of k times n_frames frames is cropped k times an epoch, at random places.

    Args:
        store: The frames.
        chosen: Images of the store to crop.
        n_frames: Width of a crop.
        batch_size: Crops in a batch, on this rank.
        seed: The run's seed.
        batches_seen: Batches of the run so far, a resumed run's included; asked when an epoch starts.
        rank: Which part of each step's crops to give, with several processes.
        n_ranks: Number of processes.
    """

    def __init__(
        self,
        store: ImageStore,
        chosen: list[int],
        n_frames: int,
        batch_size: int,
        seed: int,
        batches_seen: Callable[[], int],
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self.batch_size = batch_size
        self.n_frames = n_frames
        self.seed = seed
        self.batches_seen = batches_seen
        self.rank = rank
        self.n_ranks = n_ranks
        self._widths = np.array([store.images[index].n_frames for index in chosen])
        self._chosen = np.array(chosen)
        # Which image each crop of an epoch is cut from.
        self._slots = np.repeat(np.arange(len(chosen)), np.maximum(1, self._widths // n_frames))

    @property
    def n_crops(self) -> int:
        """Crops of an epoch, of all ranks."""
        return len(self._slots)

    def __len__(self) -> int:
        return self.n_crops // (self.batch_size * self.n_ranks)

    def __iter__(self) -> Iterator[list[Crop]]:
        epoch, start = divmod(self.batches_seen(), len(self))
        order = np.random.default_rng(derive_seed(self.seed, "order", epoch)).permutation(self._slots)
        for batch in range(start, len(self)):
            rng = np.random.default_rng(derive_seed(self.seed, "crops", epoch, batch))
            step = order[batch * self.batch_size * self.n_ranks :][: self.batch_size * self.n_ranks]
            starts = rng.integers(0, np.maximum(1, self._widths[step] - self.n_frames + 1))
            crops = [Crop(int(image), int(first)) for image, first in zip(self._chosen[step], starts, strict=True)]
            yield crops[self.rank * self.batch_size :][: self.batch_size]
