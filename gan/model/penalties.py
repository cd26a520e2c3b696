"""What keeps the discriminator smooth."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gan.errors import InputError


class Penalty(ABC):
    """A term that is added to the discriminator's loss.

    Args:
        weight: Factor of the term.
        every: Batches from one application to the next; the term is multiplied by it, so that its mean stays (lazy
            regularisation, Karras et al. 2020, section 3.1).

    Raises:
        InputError: If weight is negative or every is below 1.
    """

    def __init__(self, weight: float, every: int = 1) -> None:
        if weight < 0 or every < 1:
            raise InputError(f"a penalty's weight is {weight} and every {every}; they must be >= 0 and >= 1")
        self.weight = weight
        self.every = every

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The term of one batch, a scalar. Images have shape (batch, 1, n_freqs, n_frames)."""
        return self.weight * self.every * self.penalty(discriminator, real, fake)

    @abstractmethod
    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The term without its factors."""


class R1(Penalty):
    """Half the squared gradient of the discriminator at real images (Mescheder, Geiger, Nowozin 2018, eq. 9).

    It takes the discriminator's reward for telling ever more sharply what it tells already, which is how a small
    data set's GAN breaks down.
    """

    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """1/2 E || grad D(real) ||^2."""
        real = real.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
        return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
