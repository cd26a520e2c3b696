"""DCGAN (Radford, Metz, Chintala 2016) for images of any size with enough factors of two."""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import spectral_norm

from gan.errors import InputError
from gan.model.resampling import Upsample

Normalization = Literal["none", "batch", "spectral"]
Doubling = Literal["transposed", "resize"]

# A spectrogram is mostly silence. Where nothing is active yet the generator begins there (tanh of this is -0.9) and
# not at the middle grey of a photograph, which it would first have to unlearn, the borders last of all.
QUIET = -1.5
# The smaller side of the grid that the generator starts from; the classic network's is 4.
_MIN_BASE, _MAX_BASE = 4, 15
_MIN_STAGES = 3
# Of the discriminator's LeakyReLU.
_SLOPE = 0.2


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


def refuse_none(**sizes: int) -> None:
    """Refuse sizes and numbers of parts of a network that are below 1.

    Raises:
        InputError: If one is.
    """
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{name} is {value}; it must be 1 or more")


def widths_of(base_channels: int, max_channels: int, stages: int) -> list[int]:
    """Channels of so many layers, from the one of the largest image on: twice as many in each, up to the most.

    Raises:
        InputError: If there would be none.
    """
    refuse_none(base_channels=base_channels, max_channels=max_channels)
    return [min(max_channels, base_channels * 2**stage) for stage in range(stages)]


def _advice(image_size: tuple[int, int]) -> str:
    step = 2 ** max(_MIN_STAGES, math.ceil(math.log2(max(1, min(image_size)) / _MAX_BASE)))
    n_freqs, n_frames = (max(_MIN_BASE * step, round(side / step) * step) for side in image_size)
    if n_freqs == image_size[0]:
        return f"set data.n_frames to a multiple of {step}, e.g. {n_frames}"
    return (
        f"both must be multiples of {step} and at least {_MIN_BASE * step}: encode with an n_fft that is a power of "
        f"two, and set data.n_frames to e.g. {n_frames}"
    )


class LabelledLatent(nn.Module):
    """Joins a latent and a vector that is learnt for its class, as long and as large as the latent.

    Args:
        n_classes: Number of classes.
        latent_dim: Length of a latent, and of a class's vector.
    """

    def __init__(self, n_classes: int, latent_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_classes, latent_dim)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Join.

        Args:
            latents: Shape (..., latent_dim), standard normal.
            labels: Shape (...,), int64, in [0, n_classes); or (..., n_classes), float, a mixture's weights.

        Returns:
            Shape (..., 2 latent_dim), of mean square 1.
        """
        vectors = labels @ self.embedding.weight if labels.is_floating_point() else self.embedding(labels)
        return torch.cat([latents, normalize(vectors, dim=-1) * math.sqrt(latents.shape[-1])], dim=-1)


def check_labels(n_classes: int, labels: Tensor | None) -> None:
    """A network with classes needs labels, one without has no use for them.

    Raises:
        ValueError: If labels are missing or too many.
    """
    if (labels is None) == (n_classes > 0):
        raise ValueError(
            f"a network of {n_classes} classes was called {'without' if labels is None else 'with'} labels"
        )


def doubling(kind: Doubling, width: int, next_width: int, bias: bool) -> list[nn.Module]:
    """The layers that double a grid, as `Generator` explains them."""
    if kind == "transposed":
        return [nn.ConvTranspose2d(width, next_width, 4, 2, 1, bias=bias)]
    return [Upsample(width), nn.Conv2d(width, next_width, 3, padding=1, bias=bias)]


class Generator(nn.Module):
    """Latents to images: a projection to a small grid, then convolutions that double it.

    The first images are dark, as silence is, where the paper's are grey.

    Args:
        image_size: (n_freqs, n_frames); comes from the data.
        n_classes: Number of labels; 0 to generate without them. Comes from the data.
        latent_dim: Length of a latent.
        base_channels: Channels of the last, largest hidden layer; each smaller one has twice as many.
        max_channels: Most channels of any layer.
        normalization: "batch" is the paper's; "none" makes every image depend on its own latent only.
        upsample: How a grid is doubled. "transposed" is the paper's: convolutions with stride 2, whose even and odd
            pixels have different weights and hence different values, a checkerboard (Odena et al. 2016). In sound it
            whistles. "resize": bilinear interpolation and a 3 x 3 convolution, smooth and about half as fast.

    Attributes:
        n_classes: As given.
        latent_dim: As given.

    Raises:
        InputError: If the sides of the image cannot be halved often enough, or a size is below 1.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        n_classes: int = 0,
        latent_dim: int = 128,
        base_channels: int = 32,
        max_channels: int = 512,
        normalization: Literal["batch", "none"] = "batch",
        upsample: Doubling = "transposed",
    ) -> None:
        super().__init__()
        refuse_none(latent_dim=latent_dim)
        self.n_classes = n_classes
        self.latent_dim = latent_dim
        self.labelled = LabelledLatent(n_classes, latent_dim) if n_classes else None
        grid, stages = base_grid(image_size)
        widths = widths_of(base_channels, max_channels, stages)[::-1]
        batch_norm = normalization == "batch"

        def activation(width: int) -> list[nn.Module]:
            return [*([nn.BatchNorm2d(width)] if batch_norm else []), nn.ReLU(inplace=True)]

        joined = 2 * latent_dim if n_classes else latent_dim
        layers = [nn.ConvTranspose2d(joined, widths[0], grid, bias=not batch_norm), *activation(widths[0])]
        for width, next_width in pairwise(widths):
            layers += [*doubling(upsample, width, next_width, bias=not batch_norm), *activation(next_width)]
        self.layers = nn.Sequential(*layers)
        *resize, to_image = doubling(upsample, widths[-1], 1, bias=True)
        self.to_image = nn.Sequential(*resize, to_image) if resize else to_image
        self.apply(initialise)
        if not batch_norm:
            _keep_variance(self.layers)
        to_image.bias = nn.Parameter(torch.full((1,), QUIET))

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
        images: Tensor = self.to_image(self.layers(latents[:, :, None, None]))
        return images.tanh()


class Discriminator(nn.Module):
    """Images to logits: convolutions that halve the image down to a small grid, then one over all of it.

    With classes, each has one more such convolution of its own, which adds what it finds to the logit (the projection
    discriminator, Miyato and Koyama 2018, eq. 3: the inner product of a class's vector and the features).

    Args:
        image_size: (n_freqs, n_frames); comes from the data.
        n_classes: Number of labels; 0 to judge without them. Comes from the data.
        base_channels: Channels of the first, largest layer; each smaller one has twice as many.
        max_channels: Most channels of any layer.
        normalization: "spectral" (Miyato et al. 2018) keeps the discriminator from running away from the generator;
            "batch" is the DCGAN paper's (not on the first layer); "none".

    Attributes:
        n_classes: As given.
        judges_alone: Whether each logit is of its own image alone, so that real and fake can be judged in one pass.

    Raises:
        InputError: If the sides of the image cannot be halved often enough.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        n_classes: int = 0,
        base_channels: int = 32,
        max_channels: int = 512,
        normalization: Normalization = "spectral",
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.judges_alone = normalization != "batch"
        grid, stages = base_grid(image_size)
        widths = [1, *widths_of(base_channels, max_channels, stages)]
        layers: list[nn.Module] = []
        for width, next_width in pairwise(widths):
            batch_norm = normalization == "batch" and width > 1
            layers.append(nn.Conv2d(width, next_width, 4, 2, 1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(next_width))
            layers.append(nn.LeakyReLU(_SLOPE, inplace=True))
        layers.append(nn.Conv2d(widths[-1], 1, grid))
        self.layers = nn.Sequential(*layers)
        self.projection = nn.Conv2d(widths[-1], n_classes, grid, bias=False) if n_classes else None
        self.apply(initialise)
        if normalization == "none":
            _keep_variance(self.layers, _SLOPE)
        if normalization == "spectral":
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].
            labels: Shape (batch,), int64, in [0, n_classes); None without classes.

        Returns:
            Logits, shape (batch,): above 0 for images taken to be real.
        """
        check_labels(self.n_classes, labels)
        # A slice would be a new module each time, which takes as long as three layers.
        *layers, last = self.layers
        features = images
        for layer in layers:
            features = layer(features)
        logits: Tensor = last(features).flatten()
        if self.projection is not None and labels is not None:
            logits = logits + self.projection(features).flatten(1).gather(1, labels[:, None]).flatten()
        return logits


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), the paper's section 4; biases 0."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _keep_variance(layers: nn.Sequential, slope: float = 0.0) -> None:
    """Weights from N(0, 2 / ((1 + slope^2) n)), n being the inputs of a pixel (He et al. 2015, eq. 10 and 14).

    Without normalization, the trace of a latent or an image fades away from layer to layer with the paper's weights: a
    discriminator begins so flat that it needs thousands of batches to see anything but the coarsest shapes.
    """
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            n_inputs = layer.weight[0].numel()
        elif isinstance(layer, nn.ConvTranspose2d):
            # Its weights are spread over stride x stride pixels; from 1 x 1, over all.
            spread = math.prod(layer.kernel_size if layer.stride == (1, 1) else layer.stride)
            n_inputs = layer.in_channels * math.prod(layer.kernel_size) // spread
        else:
            continue
        nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / ((1 + slope**2) * n_inputs)))
