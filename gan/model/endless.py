"""A DCGAN's generator without beginning and end: trained on crops, it makes images of any number of frames."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, normalize
from torch.special import ndtr

from gan.errors import InputError
from gan.model.dcgan import QUIET, LabelledLatent, base_grid, check_labels, initialise, refuse_none, widths_of
from gan.model.resampling import SmoothDoubling

# Steps that a convolution over steps sees.
_REACH = 3
# Steps that doublings of time cut off, however many.
_CUT = 8
# Standard deviations, in steps, of the shortest and the longest bell that smooths a sequence; a bell is cut at three.
_SHORTEST, _LONGEST = 0.25, 4.0
# Frames that are made at a time where memory is to be bounded.
_BLOCK_FRAMES = 1024


class Parts(NamedTuple):
    """What a latent consists of: shapes (batch, whole_dim), (batch, 1) and (batch, n_steps, step_dim)."""

    whole: Tensor
    begin: Tensor
    sequence: Tensor


class Generator(nn.Module):
    """Latents of any length to images of any length.

    A latent is a vector for the whole, what is played; a number that says where in a step the image begins; and a
    sequence of vectors, what happens when, one for each step of `step_frames`. Each frame comes from the whole and the
    steps around it, always in the same way: what has seen an end of the grid is cut off after every layer, so the
    middle of an image of minutes is made as a crop in training is, a longer latent goes on where a shorter one stops,
    and blocks made one after the other fit without a seam. As crops begin anywhere in a step, the discriminator judges
    the borders between steps as often as their middles.

    Steps are short, so that notes need not begin at the borders of long ones, a pulse that no recording has. What lasts
    longer than a step comes from the sequence being smoothed, each of its numbers over another time (as the temporal
    latents of Brooks et al. 2022, "Generating Long Videos of Dynamic Scenes", section 3.1); the first layers double
    frequencies alone.

    Args:
        image_size: (n_freqs, n_frames) of a crop; comes from the data.
        n_classes: Number of labels; 0 to generate without them. Comes from the data.
        whole_dim: Length of the vector for the whole.
        step_dim: Length of a step's vector.
        step_frames: Frames of a step, a power of two, at most 2 to the number of doublings.
        base_channels: Channels of the last, largest hidden layer; each smaller one has twice as many.
        max_channels: Most channels of any layer.

    Attributes:
        n_classes: As given.
        step_frames: As given.
        block_steps: Steps that are made at a time where memory is to be bounded.
        latent_dim: Length of a crop's latent.

    Raises:
        InputError: If the sides of the image cannot be halved often enough, or not as often as a step is to be doubled,
            or a size is below 1.
    """

    smooth: Tensor

    def __init__(
        self,
        image_size: tuple[int, int],
        n_classes: int = 0,
        whole_dim: int = 64,
        step_dim: int = 32,
        step_frames: int = 4,
        base_channels: int = 32,
        max_channels: int = 512,
    ) -> None:
        super().__init__()
        refuse_none(whole_dim=whole_dim, step_dim=step_dim)
        self.n_classes = n_classes
        self.whole_dim = whole_dim
        self.step_dim = step_dim
        (self._base_freqs, _), stages = base_grid(image_size)
        n_time = step_frames.bit_length() - 1
        if step_frames != 2**n_time or not 1 <= n_time < stages:
            raise InputError(
                f"step_frames is {step_frames}; for crops of {image_size[0]} x {image_size[1]} it must be a power of "
                f"two from 2 to {2 ** (stages - 1)}"
            )
        self.step_frames = step_frames
        self.block_steps = _BLOCK_FRAMES // step_frames
        self.register_buffer("smooth", _bells(step_dim), persistent=False)
        # Steps on either side of one that its frames depend on through what looks at steps alone.
        self._beside = self.smooth.shape[-1] // 2 + (stages - n_time) * (_REACH // 2)
        # Steps beside those that are seen: these, what doublings of time cut off, and one for the part of a step that
        # is left out before the beginning and behind the end.
        self._more_steps = 2 * self._beside + _CUT + 1
        self.latent_dim = self.latent_length(image_size[1])
        widths = widths_of(base_channels, max_channels, stages)[::-1]
        self.labelled = LabelledLatent(n_classes, whole_dim) if n_classes else None
        self._n_first = widths[0]
        n_first = widths[0] * self._base_freqs
        self.from_whole = nn.Linear(2 * whole_dim if n_classes else whole_dim, n_first, bias=False)
        self.from_sequence = nn.Conv1d(step_dim, n_first, _REACH, bias=False)
        self.first = nn.Sequential(nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.doublings = nn.ModuleList()
        for stage, (width, next_width) in enumerate(pairwise(widths)):
            longer = stage >= stages - 1 - n_time
            # The first is where the grid of the steps would be left, and it costs little there.
            layers = SmoothDoubling(width, next_width, longer, sharp=stage == stages - 1 - n_time)
            self.doublings.append(nn.Sequential(layers, nn.BatchNorm2d(next_width), nn.ReLU(inplace=True)))
        self.to_image = SmoothDoubling(widths[-1], 1, longer=False, bias=True)
        self.apply(initialise)
        self.to_image.bias = nn.Parameter(torch.full((1,), QUIET))

    def latent_steps(self, n_frames: int) -> int:
        """Steps of the shortest latent of at least so many frames."""
        return math.ceil(n_frames / self.step_frames) + self._more_steps

    def latent_length(self, n_frames: int) -> int:
        """Length of the shortest latent of at least so many frames."""
        return self.whole_dim + 1 + self.step_dim * self.latent_steps(n_frames)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate.

        Args:
            latents: Shape (batch, latent_length(n_frames)), standard normal.
            labels: Shape (batch,), int64, in [0, n_classes); None without classes.

        Returns:
            Images, shape (batch, 1, n_freqs, n_frames), in [-1, 1], n_frames a multiple of `step_frames`.

        Raises:
            ValueError: If no whole number of steps has latents of that length, or labels are missing or too many.
        """
        check_labels(self.n_classes, labels)
        whole, begin, sequence = self.parts(latents)
        images = self._unroll(whole[:, None], sequence, None if labels is None else labels[:, None])
        # Evenly anywhere in a step.
        start = (ndtr(begin) * self.step_frames).long().clamp(0, self.step_frames - 1)
        frames = start + torch.arange(images.shape[-1] - self.step_frames, device=images.device)
        return images.gather(-1, frames[:, None, None].expand(-1, 1, images.shape[-2], -1))

    def latent_blocks(self, latents: Tensor) -> Iterator[Tensor]:
        """Latents whose images, one behind the other, are those of `latents`: memory is bounded by a block's."""
        whole, begin, sequence = self.parts(latents)
        for first in range(0, sequence.shape[1] - self._more_steps, self.block_steps):
            steps = sequence[:, first : first + self.block_steps + self._more_steps]
            yield torch.cat([whole, begin, steps.flatten(1)], dim=1)

    def travel(self, wholes: Tensor, sequence: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate what is not the same whole all the time.

        Args:
            wholes: A vector for the whole at each step, shape (batch, n_steps, whole_dim).
            sequence: Shape (batch, n_steps, step_dim).
            labels: Weights of the classes at each step, shape (batch, n_steps, n_classes); None without classes.

        Returns:
            Images, shape (batch, 1, n_freqs, n_frames), in [-1, 1], of the steps that have as many on both sides as
            they depend on: n_frames = step_frames (n_steps - latent_steps(0) + 1).
        """
        check_labels(self.n_classes, labels)
        return self._unroll(wholes, sequence, labels)

    def parts(self, latents: Tensor) -> Parts:
        """What latents of any length consist of.

        Raises:
            ValueError: If no whole number of steps has latents of that length.
        """
        whole, begin, sequence = latents.tensor_split([self.whole_dim, self.whole_dim + 1], dim=1)
        n_steps, rest = divmod(sequence.shape[1], self.step_dim)
        if rest or n_steps <= self._more_steps:
            raise ValueError(
                f"latents have {latents.shape[1]} numbers; as many as latent_length says are needed, e.g. "
                f"{self.latent_dim} for a crop"
            )
        return Parts(whole, begin, sequence.reshape(-1, n_steps, self.step_dim))

    def _unroll(self, wholes: Tensor, sequence: Tensor, labels: Tensor | None) -> Tensor:
        """All frames that a sequence has; wholes and labels are one for all steps or one for each."""
        if self.labelled is not None:
            wholes = self.labelled(wholes, labels)
        from_wholes = self.from_whole(wholes).transpose(1, 2)
        smooth = conv1d(sequence.transpose(1, 2), self.smooth, groups=self.step_dim)
        from_sequence = self.from_sequence(smooth)
        if from_wholes.shape[-1] > 1:
            cut = (from_wholes.shape[-1] - from_sequence.shape[-1]) // 2
            from_wholes = from_wholes[..., cut:-cut]
        grid = from_wholes + from_sequence
        grid = grid.reshape(-1, self._n_first, self._base_freqs, grid.shape[-1])
        grid = self.first(grid.contiguous(memory_format=torch.channels_last))
        for double in self.doublings:
            grid = double(grid)
        images: Tensor = self.to_image(grid).tanh()
        # A whole number of steps.
        return images[..., 1:-1]


def _bells(n_numbers: int) -> Tensor:
    """A filter for each number of a step's vector, shape (n_numbers, 1, odd): what is standard normal stays so."""
    deviations = _SHORTEST * (_LONGEST / _SHORTEST) ** torch.linspace(0, 1, n_numbers)[:, None, None]
    steps = torch.arange(-3 * _LONGEST, 3 * _LONGEST + 1)
    return normalize(torch.exp(-0.5 * (steps / deviations) ** 2), dim=-1)
