"""Crops of stored images as batches, and which ones come when."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from gan.data.levels import Levels
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
    """Crops of a store as images in [-1, 1]. An image shorter than a crop is followed by silence, the scale's floor.

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
        self.levels = Levels(store, scale, equal_levels)

    def __getitem__(self, crop: Crop) -> Batch:
        return self.__getitems__([crop])

    def __getitems__(self, crops: list[Crop]) -> Batch:
        """Read a whole batch at once."""
        # Without the highest frequency, so that the height is a power of two.
        n_freqs = self.store.settings.n_freqs - 1
        codes = np.empty((len(crops), n_freqs, self.n_frames), np.float32)
        widths = []
        for row, crop in enumerate(crops):
            stretch = self.store.codes(crop.image, crop.start, self._width(crop))
            # Turned over while it is small, and in the cache: four times as fast as the whole batch.
            codes[row, :, : len(stretch)] = stretch[:, :-1].T
            widths.append(len(stretch))
        chosen = torch.tensor([crop.image for crop in crops])
        images = self.levels(torch.from_numpy(codes), chosen)
        for row, width in enumerate(widths):
            images[row, :, width:] = self.levels.lowest
        return Batch(images.unsqueeze(1), None if self.labels is None else self.labels[chosen])

    def _width(self, crop: Crop) -> int:
        return min(self.n_frames, self.store.images.n_frames[crop.image] - crop.start)


class Fresh(NamedTuple):
    """What crops may be cut from, so that no moment of a recording comes twice.

    Attributes:
        images: Shape (n,), images of the store.
        first: Shape (n,), the first frame of each that no earlier image of its recording shows.
        width: Shape (n,), frames from there to its end.
    """

    images: NDArray[np.int64]
    first: NDArray[np.int64]
    width: NDArray[np.int64]


def fresh_frames(store: ImageStore, chosen: Sequence[int], n_frames: int) -> Fresh:
    """What crops may be cut from, so that no moment of a recording comes twice.

    Windows overlap where a recording's last one ends at its end, or where they were cut at steps shorter than they
    are. Of two images that show the same moment, the one that starts earlier has it. Where that leaves less than a
    crop of an image, nothing of it is used: it could only be filled up with silence, or with frames that come
    elsewhere. An image that nothing is taken from is always used, however short it is.

    Args:
        store: The frames.
        chosen: Images of the store. Whole recordings, or what others of their images show counts as not shown.
        n_frames: Width of a crop.
    """
    hop_seconds = store.settings.hop_length / store.settings.sample_rate
    images, number = store.images, np.array(chosen, np.int64)
    width, first = np.array(images.n_frames)[number], np.zeros(len(number), np.int64)
    start_second = np.array(images.start_second)[number]
    numbers: dict[str, int] = {}
    recordings = np.array([numbers.setdefault(images.recording[index], len(numbers)) for index in chosen], np.int64)
    # Recordings after each other, each from its start; of what starts together the longest comes first.
    order = np.lexsort((-width, start_second, recordings))
    # In frames from the recording's start; frames less than half a frame apart are the same moment.
    starts = start_second / hop_seconds
    rows = zip(order.tolist(), recordings[order].tolist(), starts[order].tolist(), width[order].tolist(), strict=True)
    last, shown = -1, 0.0
    for place, recording, start, length in rows:
        if recording != last:
            last, shown = recording, -math.inf
        if start < shown - 0.5:
            first[place] = skipped = min(length, math.ceil(shown - 0.5 - start))
            # What is not used does not count as shown, or many small steps would lose all but the first image.
            if length - skipped < n_frames:
                width[place] = 0
                continue
        shown = max(shown, start + length)
    used = width > 0
    return Fresh(number[used], first[used], (width - first)[used])


def side_by_side(fresh: Fresh, n_frames: int, most: int | None = None) -> list[Crop]:
    """All fresh frames cut into crops that do not overlap; what is left at an image's end is left out.

    Args:
        fresh: What to cut from.
        n_frames: Width of a crop.
        most: Most crops, spread evenly over all; all of them if not given.
    """
    slots = _slots(fresh, n_frames)
    n_crops = len(slots) if most is None else min(most, len(slots))
    chosen = np.arange(n_crops) * len(slots) // max(1, n_crops)
    places = slots[chosen]
    # Slots of an image follow each other.
    starts = fresh.first[places] + (chosen - np.searchsorted(slots, places)) * n_frames
    return [Crop(*crop) for crop in zip(fresh.images[places].tolist(), starts.tolist(), strict=True)]


def drawn_crops(fresh: Fresh, n_frames: int, n_crops: int, rng: np.random.Generator) -> list[Crop]:
    """Crops as an epoch of training has them, at random places and in random order, at most so many.

    Args:
        fresh: What to cut from.
        n_frames: Width of a crop.
        n_crops: Most crops.
        rng: What draws them.
    """
    return _at_random_places(fresh, rng.permutation(_slots(fresh, n_frames))[:n_crops], n_frames, rng)


def _slots(fresh: Fresh, n_frames: int) -> NDArray[np.int64]:
    """Which image each crop of an epoch is cut from: one of k times n_frames frames k times."""
    return np.repeat(np.arange(len(fresh.images)), np.maximum(1, fresh.width // n_frames))


def _at_random_places(fresh: Fresh, places: NDArray[np.int64], n_frames: int, rng: np.random.Generator) -> list[Crop]:
    starts = rng.integers(0, np.maximum(1, fresh.width[places] - n_frames + 1)) + fresh.first[places]
    return [Crop(int(image), int(start)) for image, start in zip(fresh.images[places], starts, strict=True)]


class CropSampler(Sampler[list[Crop]]):
    """Random crops, batch after batch; which ones depends on the seed and the number of batches seen, on nothing else.

    An image of k times n_frames fresh frames is cropped k times an epoch, at random places; what an earlier image of
    its recording shows is not fresh (see `fresh_frames`).

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
        self._fresh = fresh_frames(store, chosen, n_frames)
        self._slots = _slots(self._fresh, n_frames)

    @property
    def n_crops(self) -> int:
        """Crops of an epoch, of all ranks."""
        return len(self._slots)

    def __len__(self) -> int:
        return self.n_crops // (self.batch_size * self.n_ranks)

    def __iter__(self) -> Iterator[list[Crop]]:
        # As many as an epoch has, wherever in one they begin: Lightning counts on that to see the last batch, and takes
        # what was left of an epoch that it goes on with.
        first, shuffled = self.batches_seen(), -1
        for number in range(first, first + len(self)):
            epoch, batch = divmod(number, len(self))
            if epoch != shuffled:
                order = np.random.default_rng(derive_seed(self.seed, "order", epoch)).permutation(self._slots)
                shuffled = epoch
            rng = np.random.default_rng(derive_seed(self.seed, "crops", epoch, batch))
            step = order[batch * self.batch_size * self.n_ranks :][: self.batch_size * self.n_ranks]
            crops = _at_random_places(self._fresh, step, self.n_frames, rng)
            yield crops[self.rank * self.batch_size :][: self.batch_size]
