"""Images to the features that distances between them are measured on."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.errors import InputError
from gan.sound.mel import band_averages
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale, db_from_image

# What lies further below the loudest level that is heard counts as silence, however much more an image keeps.
_RANGE_DB = 80.0
_N_SEGMENTS = 8
_N_MELS = 12
_N_TEXTURES = 4
_TEXTURE = 2.0


class Embedding(ABC):
    """Images to features whose Euclidean distance says how different two images are.

    Attributes:
        name: Part of the names of all metrics that are measured on it.
        n_features: Length of a feature vector.
    """

    name: str
    n_features: int

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].

        Returns:
            Shape (batch, n_features), float32, on the same device.
        """


class SlidingEmbedding(Embedding):
    """An embedding that is made of numbers of single frames, so that those of all windows of a long image are cheap.

    Attributes:
        n_frames: Width of a window, which is that of a crop.
    """

    n_frames: int

    @abstractmethod
    def frames(self, images: Tensor) -> Tensor:
        """Numbers of each frame.

        Args:
            images: Shape (batch, 1, n_freqs, n), in [-1, 1], of any width n.

        Returns:
            Shape (batch, n_local, n).
        """

    @abstractmethod
    def windows(self, frames: Tensor) -> Tensor:
        """Features of all windows that start at a frame and end before the last.

        Args:
            frames: What `frames` gave of images at least n_frames wide.

        Returns:
            Shape (batch, n - n_frames + 1, n_features), float64: at index i those of the frames i to i + n_frames.
        """

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of images that are one window wide, as `Embedding` says.

        Raises:
            InputError: If the images have another width.
        """
        if images.shape[-1] != self.n_frames:
            raise InputError(f"images are {images.shape[-1]} frames wide; this embedding is of {self.n_frames} frames")
        return self.windows(self.frames(images))[:, 0].float()


class MelStatistics(SlidingEmbedding):
    """Levels and texture of mel bands in eight segments of time: 160 numbers in dB that need no trained network.

    Of every frame: the level of 12 mel bands (of their mean power), and in 4 mel bands the mean absolute change of
    level from the frame before and from the frequency below. Levels alone do not see what is blurred or buzzes;
    changes do. Each is averaged over eight segments of time, equal to within a frame.

    Levels are those of the sound, whatever -1 and 1 mean, and end 80 dB below the scale's top_db: differences below
    are not heard. The features are scaled so that the squared distance between two images is the mean squared
    difference of their band levels, plus texture^2 times that of each kind of change: a distance is in dB. They come in
    the order above, from low to high bands, with the eight segments of each next to each other.

    Args:
        settings: The grid.
        scale: Which levels -1 and 1 are.
        n_frames: Width of the images.
        texture: How many dB of level a dB of change counts for, >= 0. The default is for quality: changes vary less
            than levels, and blur shows in little else. 0 is for the search of copies, which a generator never makes
            without a little blur or noise: then these do not hide them.

    Raises:
        InputError: If texture is negative, or the images are so narrow that a segment has less than two frames.
    """

    def __init__(
        self, settings: SpectrogramSettings, scale: ImageScale, n_frames: int, texture: float = _TEXTURE
    ) -> None:
        if n_frames < 2 * _N_SEGMENTS:
            raise InputError(f"images are {n_frames} frames wide; the embedding needs {2 * _N_SEGMENTS} or more")
        if not texture >= 0:
            raise InputError(f"the weight of texture is {texture}; it must be 0 or more")
        self.name = "mel" if texture == _TEXTURE else f"mel_texture_{texture:g}"
        self.scale = scale
        self.n_frames = n_frames
        self._bands = band_averages(_N_MELS, settings)
        self._textures = band_averages(_N_TEXTURES, settings)
        n_levels, n_changes = len(self._bands), len(self._textures)
        self.n_features = _N_SEGMENTS * (n_levels + 2 * n_changes)
        # Where each segment starts and ends.
        self._edges = torch.arange(_N_SEGMENTS + 1) * n_frames // _N_SEGMENTS
        kinds = torch.tensor([n_levels, n_changes, n_changes])
        importance = torch.tensor([1.0, texture, texture])
        self._weights = (importance / (_N_SEGMENTS * kinds).sqrt()).repeat_interleave(kinds)
        # Which numbers of a window's first frame know the frame before it, which is none of the window's.
        self._know_before = torch.tensor([False, True, False]).repeat_interleave(kinds)

    @torch.no_grad()
    def frames(self, images: Tensor) -> Tensor:
        """Band levels and changes of each frame, as `SlidingEmbedding` says; the first frame's change is 0."""
        floor_db = self.scale.top_db - _RANGE_DB
        # Without the highest frequency, which images do not hold.
        level_db = db_from_image(images[:, 0].float(), self.scale)[:, :-1].clamp_min(floor_db)
        bands, textures = self._bands.to(images.device), self._textures.to(images.device)
        power = torch.exp((level_db - self.scale.top_db) * (0.1 * math.log(10.0)))
        band_db = 10.0 * torch.log10(bands @ power) + self.scale.top_db
        in_time = textures @ pad(level_db.diff(dim=2).abs_(), (1, 0))
        in_frequency = textures @ pad(level_db.diff(dim=1).abs_(), (0, 0, 1, 0))
        return torch.cat([band_db, in_time, in_frequency], dim=1)

    @torch.no_grad()
    def windows(self, frames: Tensor) -> Tensor:
        """Means over the segments of all windows, as `SlidingEmbedding` says."""
        n_starts = frames.shape[-1] - self.n_frames + 1
        # Double, or differences of sums over many frames would lose the last digits of a segment.
        total = pad(frames.double().cumsum(-1), (1, 0))
        sums = torch.stack([total[..., edge : edge + n_starts] for edge in self._edges.tolist()], -1).diff(dim=-1)
        widths = self._edges.diff().expand(frames.shape[1], -1).to(frames.device, torch.float64, copy=True)
        know_before = self._know_before.to(frames.device)
        sums[:, know_before, :, 0] -= frames[:, know_before, :n_starts]
        widths[know_before, 0] -= 1
        means = sums / widths[:, None] * self._weights.to(frames.device)[:, None, None]
        return means.transpose(1, 2).flatten(2)
