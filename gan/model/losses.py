"""What the discriminator and the generator minimise."""

from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn.functional import softplus


class AdversarialLoss(ABC):
    """A pair of losses. Both get the logits of real and fake images: relativistic losses need them."""

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
