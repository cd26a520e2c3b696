"""What keeps the discriminator smooth."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

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

    def __call__(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """The term of one batch, a scalar.

        Args:
            discriminator: Images to logits (batch,), each of its own image only; it may know their labels.
            real: Shape (batch, 1, n_freqs, n_frames).
            fake: The same shape, of the same labels.
        """
        # In half precision slopes of slopes vanish or lose most of their digits.
        with torch.autocast(real.device.type, enabled=False):
            fake = fake.detach().to(real.dtype)
            return self.weight * self.every * self.penalty(discriminator, real.detach(), fake)

    @abstractmethod
    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """The term without its factors."""


class R1(Penalty):
    """Half the squared gradient of the discriminator at real images (Mescheder, Geiger, Nowozin 2018, eq. 9).

    It takes the discriminator's reward for telling ever more sharply what it tells already, which is how a small
    data set's GAN breaks down.
    """

    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """1/2 E || grad D(real) ||^2."""
        return 0.5 * _slopes(discriminator, real).square().mean()


class R1R2(Penalty):
    """R1, and the same at fake images (Mescheder et al. 2018, eq. 9 and 10; Huang et al. 2024, "R3GAN", section 2.2).

    At first real and fake images are so far from each other that a discriminator which is smooth at the real ones can
    be steep at the fake ones; relativistic losses diverge then.
    """

    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """1/2 E || grad D(real) ||^2 + 1/2 E || grad D(fake) ||^2."""
        at_real, at_fake = _slopes(discriminator, real), _slopes(discriminator, fake)
        return 0.5 * at_real.square().mean() + 0.5 * at_fake.square().mean()


class WassersteinGP(Penalty):
    """Distance of the discriminator's slope from 1 between real and fake images (Gulrajani et al. 2017, eq. 3).

    Args:
        weight: Factor of the term; the paper's is 10.
        every: Batches from one application to the next.
    """

    def __init__(self, weight: float = 10.0, every: int = 1) -> None:
        super().__init__(weight, every)

    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """E (|| grad D(x) || - 1)^2, x drawn evenly from the straight line from a real to a fake image."""
        place = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
        return (_slopes(discriminator, torch.lerp(real, fake, place)) - 1.0).square().mean()


def refuse_batch_norm(discriminator: nn.Module, penalty: Penalty) -> None:
    """A penalty is of each image's own gradient, and batch normalization makes every logit depend on every image.

    Raises:
        InputError: If the discriminator has such a layer.
    """
    if any(isinstance(layer, _BatchNorm) for layer in discriminator.modules()):
        raise InputError(
            f"model.penalty is {type(penalty).__name__}, which needs a discriminator without batch normalization, but "
            f"{type(discriminator).__name__} has it; set model.discriminator.init_args.normalization to none or "
            "spectral, or model.penalty to null"
        )


def _slopes(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """|| grad D || at each image, shape (batch,); it can be differentiated by the discriminator's weights."""
    images = images.requires_grad_(True)
    (gradients,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    # Unlike a square root of squares its derivative is finite (0) where the slope is 0.
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=(1, 2, 3))
    return norms
