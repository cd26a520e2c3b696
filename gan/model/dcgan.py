"""DCGAN (Radford, Metz, Chintala 2016) for images of any size with enough factors of two."""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan.errors import InputError

Normalization = Literal["none", "batch", "spectral"]

# A spectrogram is mostly silence. Where nothing is active yet the generator begins there (tanh of this is -0.9) and
# not at the middle grey of a photograph, which it would first have to unlearn, the borders last of all.
_QUIET = -1.5
# The smaller side of the grid that the generator starts from; the classic network's is 4.
_MIN_BASE, _MAX_BASE = 4, 15
_MIN_STAGES = 3


def base_grid(image_size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Halve both sides of an image for as long as the smaller one stays at 4 or more.

    Args:
        image_size: (n_freqs, n_frames).

    Returns:
        The grid that remains, e.g. (4, 4) of 128 x 128 or (16, 4) of 1024 x 256, and the number of halvings.

    Raises:
        InputError: If the sides cannot be halved often enough.
    """
    n_freqs, n_frames = image_size
    stages = 0
    while n_freqs % 2 == 0 and n_frames % 2 == 0 and min(n_freqs, n_frames) // 2 >= _MIN_BASE:
        n_freqs, n_frames, stages = n_freqs // 2, n_frames // 2, stages + 1
    if stages < _MIN_STAGES or min(n_freqs, n_frames) > _MAX_BASE:
        raise InputError(
            f"images of {image_size[0]} x {image_size[1]} (frequencies x frames) cannot be halved down to a small "
            f"grid; {_advice(image_size)}"
        )
    return (n_freqs, n_frames), stages


def _advice(image_size: tuple[int, int]) -> str:
    step = 2 ** max(_MIN_STAGES, math.ceil(math.log2(max(1, min(image_size)) / _MAX_BASE)))
    n_freqs, n_frames = (max(_MIN_BASE * step, round(side / step) * step) for side in image_size)
    if n_freqs == image_size[0]:
        return f"set data.n_frames to a multiple of {step}, e.g. {n_frames}"
    return (
        f"both must be multiples of {step} and at least {_MIN_BASE * step}: encode with an n_fft that is a power of "
        f"two, and set data.n_frames to e.g. {n_frames}"
    )


class Generator(nn.Module):
    """Latents to images: a projection to a small grid, then transposed convolutions that double it.

    The first images are dark, as silence is, where the paper's are grey.

    Args:
        image_size: (n_freqs, n_frames); comes from the data.
        latent_dim: Length of a latent.
        base_channels: Channels of the last, largest hidden layer; each smaller one has twice as many.
        max_channels: Most channels of any layer.

    Raises:
        InputError: If the sides of the image cannot be halved often enough.
    """

    def __init__(
        self, image_size: tuple[int, int], latent_dim: int = 128, base_channels: int = 32, max_channels: int = 512
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        grid, stages = base_grid(image_size)
        widths = [min(max_channels, base_channels * 2**stage) for stage in reversed(range(stages))]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim, widths[0], grid, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for width, next_width in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(width, next_width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(next_width),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.to_image = nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1)
        self.apply(_initialise)
        self.to_image.bias = nn.Parameter(torch.full((1,), _QUIET))

    def forward(self, latents: Tensor) -> Tensor:
        """Generate.

        Args:
            latents: Shape (batch, latent_dim), standard normal.

        Returns:
            Images, shape (batch, 1, n_freqs, n_frames), in [-1, 1].
        """
        images: Tensor = self.to_image(self.layers(latents[:, :, None, None]))
        return images.tanh()


class Discriminator(nn.Module):
    """Images to logits: convolutions that halve the image down to a small grid, then one over all of it.

    Args:
        image_size: (n_freqs, n_frames); comes from the data.
        base_channels: Channels of the first, largest layer; each smaller one has twice as many.
        max_channels: Most channels of any layer.
        normalization: "spectral" (Miyato et al. 2018) keeps the discriminator from running away from the generator;
            "batch" is the DCGAN paper's (not on the first layer); "none".

    Raises:
        InputError: If the sides of the image cannot be halved often enough.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        base_channels: int = 32,
        max_channels: int = 512,
        normalization: Normalization = "spectral",
    ) -> None:
        super().__init__()
        grid, stages = base_grid(image_size)
        widths = [1, *(min(max_channels, base_channels * 2**stage) for stage in range(stages))]
        layers: list[nn.Module] = []
        for width, next_width in pairwise(widths):
            batch_norm = normalization == "batch" and width > 1
            layers.append(nn.Conv2d(width, next_width, 4, 2, 1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(next_width))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(nn.Conv2d(widths[-1], 1, grid))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)
        if normalization == "spectral":
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Judge.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].

        Returns:
            Logits, shape (batch,): above 0 for images taken to be real.
        """
        logits: Tensor = self.layers(images)
        return logits.flatten()


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), the paper's section 4; biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
