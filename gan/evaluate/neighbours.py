"""Which training crop an image is nearest to: what tells a memory from an invention."""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gan.data.crops import Crop, CropDataset
from gan.errors import InputError
from gan.evaluate.features import SlidingEmbedding
from gan.progress import each

# Windows of a stretch, and what a batch of stretches may have: 16 MB of cells a copy, 8 MB of distances for 128 images.
_N_STARTS = 1024
_MAX_CELLS = 2**22
_MAX_WINDOWS = 8 * _N_STARTS


class Neighbours:
    """Finds the training crop that an image is nearest to, over all images and all frames a crop can start at.

    No crop is left out: the embedding's numbers of each frame are worked out once, those of all windows are differences
    of their running sums, and distances to them one product of matrices, |a|^2 + |b|^2 - 2 a . b. What it takes is
    the reading: memory is bounded by what is read at once, time grows with the frames and hardly with the number of
    images asked for, so ask for all at once. 64 images in 1,300 minutes at 22 kHz (1025 x 3.4 million cells) take 2
    to 4 minutes of one core.

    Args:
        embedding: What distances are measured in, of the dataset's scale and width.
        crops: The crops of a store.
        images: Those images of the store that are searched; the training images.

    Raises:
        InputError: If the embedding is of another width than the crops.
    """

    def __init__(self, embedding: SlidingEmbedding, crops: CropDataset, images: Sequence[int]) -> None:
        if embedding.n_frames != crops.n_frames:
            raise InputError(f"the embedding is of {embedding.n_frames} frames, but crops have {crops.n_frames}")
        if not images:
            raise InputError("there are no images to search for neighbours; give the training images")
        self.embedding = embedding
        self.images = images
        self._crops = copy.copy(crops)

    @torch.no_grad()
    def nearest(self, images: Tensor) -> tuple[Tensor, list[Crop]]:
        """The nearest crop of each image.

        Args:
            images: Shape (n, 1, n_freqs, n_frames), in [-1, 1]; the search is made on their device.

        Returns:
            Distances in the embedding, shape (n,), float64, and the crops. Of equally near ones, any.
        """
        queries = self.embedding(images).double()
        n = len(queries)
        nearest = torch.full((n,), torch.inf, dtype=torch.float64, device=images.device)
        image, start = torch.zeros(2, n, dtype=torch.int64, device=images.device)
        for stretches in self._batches():
            frames = self._frames(stretches, images.device)
            windows = self.embedding.windows(frames)
            n_starts = torch.tensor([stretch.n_starts for stretch in stretches], device=images.device)
            # |b|^2 is the same for all windows.
            distances = windows.square().sum(-1, keepdim=True) - 2.0 * windows @ queries.T
            beyond = torch.arange(windows.shape[1], device=images.device) >= n_starts[:, None]
            least, place = distances.masked_fill_(beyond[..., None], torch.inf).flatten(0, 1).min(0)
            row, first = place // windows.shape[1], place % windows.shape[1]
            origin = torch.tensor([(stretch.image, stretch.start) for stretch in stretches], device=images.device)
            better = least < nearest
            nearest = torch.where(better, least, nearest)
            image = torch.where(better, origin[row, 0], image)
            start = torch.where(better, origin[row, 1] + first, start)
        distances = (nearest + queries.square().sum(1)).clamp_min(0.0).sqrt()
        return distances, [Crop(*found) for found in zip(image.tolist(), start.tolist(), strict=True)]

    def _batches(self) -> Iterator[list["_Stretch"]]:
        n_frames = self.embedding.n_frames
        stretches = []
        for index in self.images:
            # An image shorter than a crop is one window, followed by silence.
            n_starts = max(1, self._crops.store.images.n_frames[index] - n_frames + 1)
            stretches += [
                _Stretch(index, start, min(_N_STARTS, n_starts - start)) for start in range(0, n_starts, _N_STARTS)
            ]
        # Those of the same length together, so that little is read for nothing.
        stretches.sort(key=lambda stretch: stretch.n_starts)
        batch: list[_Stretch] = []
        for stretch in each(stretches, "neighbours", "part", lambda stretch: stretch.n_starts + n_frames):
            n_windows = (len(batch) + 1) * stretch.n_starts
            n_cells = (len(batch) + 1) * (stretch.n_starts + n_frames - 1) * self._crops.store.settings.n_freqs
            if batch and (n_cells > _MAX_CELLS or n_windows > _MAX_WINDOWS):
                yield batch
                batch = []
            batch.append(stretch)
        yield batch

    def _frames(self, stretches: "list[_Stretch]", device: torch.device) -> Tensor:
        self._crops.n_frames = stretches[-1].n_starts + self.embedding.n_frames - 1
        crops = [Crop(stretch.image, stretch.start) for stretch in stretches]
        return self.embedding.frames(self._crops.__getitems__(crops).images.to(device))


class _Stretch(NamedTuple):
    """So many windows of an image that start one frame after the other."""

    image: int
    start: int
    n_starts: int


def copy_rate(distances: Tensor, held_out_distances: Tensor) -> float:
    """Share of generated images that are nearer to a training crop than 95 % of real crops it never saw.

    A generator that makes new sounds of the same kind has 0.05, as recordings that were not trained on have; one that
    repeats its training crops 1. Below 0.05 it makes what is unlike any of them, which is no proof: blur and noise
    carry a copy away, too, so measure in `MelStatistics(texture=0)`, and listen to the nearest. How bad a copy is still
    found depends on how alike the recordings are among themselves.

    The limit is the 5 % quantile of n held-out distances at the rank 0.05 (n + 1), for which the rate to be expected of
    other held-out crops is 0.05 however few there are. Held-out crops must be of other recordings than the training's.
    Where 5 % of them are exactly like a training crop, as where there is silence, no copy is told from them: 0.

    Args:
        distances: Of generated images to their nearest training crops, shape (n,).
        held_out_distances: Of real ones that were not trained on, in the same embedding.

    Returns:
        In [0, 1].

    Raises:
        InputError: If there are less than 19 held-out distances, or no others.
    """
    for name, values, n_needed in (("held-out", held_out_distances, 19), ("generated", distances, 1)):
        if len(values) < n_needed:
            raise InputError(f"a copy rate needs {n_needed} {name} images or more, but there are {len(values)}")
        if not values.isfinite().all():
            raise InputError(f"a copy rate needs finite distances, but some {name} images have others")
    limit = float(np.quantile(held_out_distances.cpu().numpy(), 0.05, method="weibull"))
    return float((distances < limit).double().mean())
