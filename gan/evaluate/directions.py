"""The strongest axes of variation of a generator, found without labels."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from gan.progress import each
from gan.seed import derive_seed

if TYPE_CHECKING:
    from gan.model.gan import GAN

_BATCH = 64
# More of the images' principal components than are asked for, so that the last of those is exact, too.
_MORE_COMPONENTS = 10


class Directions(NamedTuple):
    """Axes in the latent space, the strongest first.

    Attributes:
        axes: Shape (n_axes, latent_dim), of length 1: latents are standard normal, so a step of 1 is a standard
            deviation.
        shares: How much of the images' variance lies along each axis' component, shape (n_axes,).
        followed: How much of its component follows from moving along the axis in a straight line, in [0, 1], shape
            (n_axes,): near 0 the axis says little.
    """

    axes: Tensor
    shares: Tensor
    followed: Tensor


def find_directions(gan: "GAN", n_axes: int, n_samples: int = 1000, seed: int = 0) -> Directions:
    """Principal components of what is generated, and the latents that they follow from by linear regression.

    As GANSpace (Harkonen, Hertzmann, Lehtinen, Paris 2020, section 2.2) does with a layer's activations; here with the
    images themselves, so that the axes are those of what is heard, whatever the networks are. Of a generator of
    `gan.model.endless` the axes are those of the whole, and leave alone what happens when.

    Args:
        gan: The model.
        n_axes: Number of axes, less than n_samples.
        n_samples: Images that are looked at, evenly many of each class.
        seed: Seed of their latents.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "directions"))
    latents = torch.randn(n_samples, gan.latent_dim, generator=generator)
    labels = torch.arange(n_samples) % gan.n_classes if gan.n_classes else None
    images = torch.cat(
        [
            gan.sample(latents[part], None if labels is None else labels[part]).flatten(1).float().cpu()
            for part in each(torch.split(torch.arange(n_samples), _BATCH), "look", "part")
        ]
    )
    images -= images.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "components"))
        left, sizes, _ = torch.pca_lowrank(images, min(n_samples, n_axes + _MORE_COMPONENTS), center=False, niter=4)
    scores = left[:, :n_axes] * n_samples**0.5
    known = latents[:, : getattr(gan.generator, "whole_dim", gan.latent_dim)]
    known = known - known.mean(0)
    # The other way round than the paper's, which asks for latents of components: each component on all latents.
    slopes = torch.linalg.lstsq(known, scores).solution
    followed = (known @ slopes).square().mean(0)
    # Of so many columns some fit by chance.
    by_chance = known.shape[1] / n_samples
    axes = torch.zeros(n_axes, gan.latent_dim)
    axes[:, : known.shape[1]] = torch.nn.functional.normalize(slopes.T, dim=1)
    return Directions(
        axes,
        sizes[:n_axes].square() / images.square().sum(),
        ((followed - by_chance) / (1.0 - by_chance)).clamp(0.0, 1.0),
    )
