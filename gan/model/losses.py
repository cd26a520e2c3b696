"""What the discriminator and the generator minimise."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(ABC):
    """A pair of losses. Both get the logits of real and fake images: relativistic losses need them.

    Attributes:
        relative: Whether only differences of logits mean anything. If not, images with logits above 0 are taken to be
            real.
    """

    relative: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Loss of the discriminator, a scalar. Logits have shape (batch,)."""

    @abstractmethod
    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Loss of the generator, a scalar. Logits have shape (batch,)."""


class NonSaturating(AdversarialLoss):
    """Cross entropy, with the generator's term that does not saturate (Goodfellow et al. 2014, section 3)."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log D(real) - log(1 - D(fake)), D being the logits' sigmoid."""
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log D(fake)."""
        return softplus(-fake_logits).mean()


class Hinge(AdversarialLoss):
    """Logits beyond -1 and 1 are certain enough (Lim and Ye 2017; Miyato et al. 2018, eq. 16 and 17)."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """max(0, 1 - D(real)) + max(0, 1 + D(fake))."""
        return relu(1.0 - real_logits).mean() + relu(1.0 + fake_logits).mean()

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-D(fake)."""
        return -fake_logits.mean()


class LeastSquares(AdversarialLoss):
    """Squared distances from -1, which means fake, and 1, which means real (Mao et al. 2017, eq. 2).

    The paper's 0 and 1 (eq. 9), moved so that 0 lies in the middle between them, as with the other losses.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """1/2 (D(real) - 1)^2 + 1/2 (D(fake) + 1)^2."""
        return 0.5 * (real_logits - 1.0).square().mean() + 0.5 * (fake_logits + 1.0).square().mean()

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """1/2 (D(fake) - 1)^2."""
        return 0.5 * (fake_logits - 1.0).square().mean()


class Wasserstein(AdversarialLoss):
    """The distance by which real images must be moved to become the fake ones (Arjovsky et al. 2017, eq. 2).

    Only of a discriminator that is no steeper than 1: with the penalty WassersteinGP, or with spectral normalization.
    """

    relative = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D(fake) - D(real)."""
        return fake_logits.mean() - real_logits.mean()

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-D(fake)."""
        return -fake_logits.mean()


class RelativisticPairing(AdversarialLoss):
    """Each real image against a fake one (Jolicoeur-Martineau 2019, section 4; Huang et al. 2024, "R3GAN", eq. 2).

    A generator that makes one image only cannot win: it has to beat every real one. Huang et al. show that it
    converges with the penalty R1R2.
    """

    relative = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log sigmoid(D(real) - D(fake))."""
        return softplus(fake_logits - real_logits).mean()

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log sigmoid(D(fake) - D(real))."""
        return softplus(real_logits - fake_logits).mean()
