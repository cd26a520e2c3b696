"""Residual networks without normalization, after R3GAN (Huang et al. 2024, "The GAN is dead", section 4)."""

import math
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from gan.errors import InputError
from gan.model.dcgan import QUIET, LabelledLatent, base_grid, check_labels, refuse_none, widths_of
from gan.model.resampling import Downsample, Upsample

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)

_SLOPE = 0.2
# Keeps the variance through a LeakyReLU (He et al. 2015, eq. 14).
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
# Of the first images around the quiet they begin with.
_FIRST_DEVIATION = 0.1


class _Block(nn.Module):
    """x + 1x1(LeakyReLU(grouped 3x3(LeakyReLU(1x1(x))))), which begins as x itself (the paper's figure 4, right).

    Initialised as without normalization it has to be (Zhang et al. 2019, "Fixup", section 3): the last convolution 0,
    the other two so small that n_blocks of them together change as much as one would.
    """

    def __init__(self, width: int, expansion: int, group_size: int | None, n_blocks: int) -> None:
        super().__init__()
        refuse_none(expansion=expansion, group_size=1 if group_size is None else group_size)
        hidden = width * expansion
        group_size = hidden if group_size is None else min(group_size, hidden)
        if hidden % group_size:
            raise InputError(
                f"{hidden} channels (channels times expansion) cannot be cut into groups of {group_size}; set "
                "base_channels, max_channels and group_size of model.generator and model.discriminator to powers of two"
            )
        gain = _GAIN * n_blocks**-0.25
        self.layers = nn.Sequential(
            _initialised(nn.Conv2d(width, hidden, 1), gain),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _initialised(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden // group_size), gain),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _initialised(nn.Conv2d(hidden, width, 1, bias=False), 0.0),
        )

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = features + self.layers(features)
        return changed


class Generator(nn.Module):
    """Latents to images: a learnt basis weighted by the latent, then residual blocks between smooth doublings.

    Every doubling is by a fixed filter: no pixel differs from its neighbour by where it lies, and no checkerboard
    whistles in the sound. The first images are dark, as silence is.

    Args:
        image_size: (n_freqs, n_frames); comes from the data.
        n_classes: Number of labels; 0 to generate without them. Comes from the data.
        latent_dim: Length of a latent.
        base_channels: Channels of the largest blocks, at half the size of the image; each smaller grid has twice as
            many.
        max_channels: Most channels of a grid.
        blocks_per_stage: Residual blocks of each grid; the paper has 2.
        group_size: Channels of a group of the 3 x 3 convolutions, the paper's is 16; None for one group, which has the
            most weights for its time on a CPU.
        expansion: Channels inside of a block to those outside; the paper's is 2.

    Attributes:
        n_classes: As given.
        latent_dim: As given.

    Raises:
        InputError: If the sides of the image cannot be halved often enough, the channels not be grouped, or a size is
            below 1.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        n_classes: int = 0,
        latent_dim: int = 128,
        base_channels: int = 16,
        max_channels: int = 256,
        blocks_per_stage: int = 1,
        group_size: int | None = None,
        expansion: int = 1,
    ) -> None:
        super().__init__()
        refuse_none(latent_dim=latent_dim, blocks_per_stage=blocks_per_stage)
        self.n_classes = n_classes
        self.latent_dim = latent_dim
        self.labelled = LabelledLatent(n_classes, latent_dim) if n_classes else None
        grid, stages = base_grid(image_size)
        widths = widths_of(base_channels, max_channels, stages)[::-1]
        n_blocks = stages * blocks_per_stage

        def blocks(width: int) -> list[nn.Module]:
            return [_Block(width, expansion, group_size, n_blocks) for _ in range(blocks_per_stage)]

        joined = 2 * latent_dim if n_classes else latent_dim
        self.weigh = _initialised(nn.Linear(joined, widths[0], bias=False), 1.0)
        self.basis = nn.Parameter(torch.randn(widths[0], *grid))
        layers = blocks(widths[0])
        for width, next_width in pairwise(widths):
            layers += [*_change_width(width, next_width), Upsample(next_width), *blocks(next_width)]
        self.layers = nn.Sequential(*layers)
        to_image = _initialised(nn.Conv2d(widths[-1], 1, 3, padding=1), _FIRST_DEVIATION)
        to_image.bias = nn.Parameter(torch.full((1,), QUIET))
        self.to_image = nn.Sequential(Upsample(widths[-1]), to_image)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate.

        Args:
            latents: Shape (batch, latent_dim), standard normal.
            labels: Shape (batch,), int64, in [0, n_classes); None without classes.

        Returns:
            Images, shape (batch, 1, n_freqs, n_frames), in [-1, 1].
        """
        check_labels(self.n_classes, labels)
        if self.labelled is not None:
            latents = self.labelled(latents, labels)
        features = self.basis * self.weigh(latents)[:, :, None, None]
        images: Tensor = self.to_image(self.layers(features.contiguous(memory_format=torch.channels_last)))
        return images.tanh()


class Discriminator(nn.Module):
    """Images to logits, the generator's mirror image: residual blocks between smooth halvings, then a learnt basis.

    With classes, the inner product of a class's vector and the features is added to the logit (Miyato and Koyama
    2018, eq. 3). There is no batch normalization: any penalty goes with it.

    Args:
        image_size: (n_freqs, n_frames); comes from the data.
        n_classes: Number of labels; 0 to judge without them. Comes from the data.
        base_channels: Channels of the largest blocks, at half the size of the image; each smaller grid has twice as
            many.
        max_channels: Most channels of a grid.
        blocks_per_stage: Residual blocks of each grid; the paper has 2.
        group_size: Channels of a group of the 3 x 3 convolutions, the paper's is 16; None for one group, which has the
            most weights for its time on a CPU.
        expansion: Channels inside of a block to those outside; the paper's is 2.

    Attributes:
        n_classes: As given.
        judges_alone: Whether each logit is of its own image alone, so that real and fake can be judged in one pass.

    Raises:
        InputError: If the sides of the image cannot be halved often enough, the channels not be grouped, or a size is
            below 1.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        n_classes: int = 0,
        base_channels: int = 16,
        max_channels: int = 256,
        blocks_per_stage: int = 1,
        group_size: int | None = None,
        expansion: int = 1,
    ) -> None:
        super().__init__()
        refuse_none(blocks_per_stage=blocks_per_stage)
        self.n_classes = n_classes
        self.judges_alone = True
        grid, stages = base_grid(image_size)
        widths = widths_of(base_channels, max_channels, stages)
        n_blocks = stages * blocks_per_stage

        def blocks(width: int) -> list[nn.Module]:
            return [_Block(width, expansion, group_size, n_blocks) for _ in range(blocks_per_stage)]

        # Not smooth: what a filter takes away before anything has looked at it could not be judged.
        layers: list[nn.Module] = [_initialised(nn.Conv2d(1, widths[0], 4, 2, 1), 1.0), *blocks(widths[0])]
        for width, next_width in pairwise(widths):
            layers += [Downsample(width), *_change_width(width, next_width), *blocks(next_width)]
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Parameter(torch.randn(widths[-1], *grid) / math.sqrt(math.prod(grid)))
        self.to_logit = _initialised(nn.Linear(widths[-1], 1), 1.0)
        self.projection = nn.Embedding(n_classes, widths[-1]) if n_classes else None
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, 0.0, 1 / math.sqrt(widths[-1]))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].
            labels: Shape (batch,), int64, in [0, n_classes); None without classes.

        Returns:
            Logits, shape (batch,): above 0 for images taken to be real.
        """
        check_labels(self.n_classes, labels)
        features = (self.basis * self.layers(images)).sum(dim=(2, 3))
        logits: Tensor = self.to_logit(features).flatten()
        if self.projection is not None:
            logits = logits + (self.projection(labels) * features).sum(dim=1)
        return logits


def _change_width(width: int, next_width: int) -> list[nn.Module]:
    if width == next_width:
        return []
    return [_initialised(nn.Conv2d(width, next_width, 1, bias=False), 1.0)]


def _initialised(layer: _Layer, gain: float) -> _Layer:
    """Weights that change the deviation of what goes through by a factor; biases 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
