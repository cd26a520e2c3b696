"""The training itself: von Mises likelihood of the phase's steps."""

from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from gan.errors import InputError
from gan.seed import derive_seed
from gan.sound.phase.steps import PhaseSteps

# OneCycleLR cannot go up and down in less.
_FEWEST_STEPS = 10


class PhaseTraining(LightningModule):
    """Learns the steps of the phase from recordings, whose phase is known.

    The loss is the negative logarithm of a von Mises distribution's density, ln I0(kappa) - kappa cos(d - d_true), for
    the step in time and the one in frequency, so that the network learns how certain it is along with the step.

    Args:
        hidden: Units of the hidden layers.
        lr: Highest learning rate of Adam with OneCycleLR.
        seed: Seed of the first weights; the run's seed.

    Attributes:
        batches_seen: Batches of the run so far, a resumed run's included: the x axis of all that is logged.
        latest: The loss of the last batch, a scalar on the module's device, under its tag.

    Raises:
        InputError: If hidden is empty or lr lies outside (0, 1].
    """

    def __init__(self, hidden: tuple[int, ...] = (64, 48), lr: float = 5e-3, seed: int = 0) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise InputError(f"model.hidden is {list(hidden)}; it must be a list of numbers above 0, as [64, 48]")
        if not 0 < lr <= 1:
            raise InputError(f"model.lr is {lr}; it must lie in (0, 1], 0.005 is usual")
        torch.manual_seed(derive_seed(seed, "weights"))
        self.network = PhaseSteps(tuple(hidden))
        self.lr = lr
        self.batches_seen = 0
        self.latest: dict[str, Tensor] = {}

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch: features (n, 72), true steps (n, 2), complex, and what each step counts (n, 2)."""
        features, true_steps, weights = batch
        loss: Tensor = (von_mises_loss(self.network(features), true_steps) * weights).sum() / len(features)
        self.latest = {"loss/steps": loss.detach()}
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count, and log the loss at the place of what is heard; Lightning's own x axis is a batch behind."""
        self.batches_seen += 1
        if self.batches_seen % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            for logger in self.loggers:
                logger.log_metrics({name: float(value) for name, value in self.latest.items()}, self.batches_seen)

    def configure_optimizers(self) -> Any:
        """Adam, its rate up and down again over the whole training."""
        optimizer = Adam(self.parameters(), self.lr)
        n_steps = max(_FEWEST_STEPS, int(self.trainer.estimated_stepping_batches))
        schedule = OneCycleLR(optimizer, self.lr, total_steps=n_steps, pct_start=0.2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counter that curves go on from."""
        checkpoint["batches_seen"] = self.batches_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.batches_seen = checkpoint["batches_seen"]


def von_mises_loss(steps: Tensor, true_steps: Tensor) -> Tensor:
    """Negative log-likelihood of angles, but for a constant.

    Args:
        steps: kappa e^(i d), complex.
        true_steps: e^(i d_true), complex, same shape.

    Returns:
        ln I0(kappa) - kappa cos(d - d_true), same shape.
    """
    # Away from 0, where a length has no gradient.
    kappa = (steps.real.square() + steps.imag.square() + 1e-6).sqrt()
    along = steps.real * true_steps.real + steps.imag * true_steps.imag
    # i0e is I0 without its exponential growth.
    loss: Tensor = torch.special.i0e(kappa).log() + kappa - along
    return loss
