"""The training step of a GAN, as a LightningModule."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel, update_bn

from gan.errors import InputError
from gan.model.losses import AdversarialLoss
from gan.model.penalties import Penalty
from gan.seed import derive_seed

_CALIBRATION_BATCH = 64


class GAN(LightningModule):
    """A generator and a discriminator, trained against each other, and the generator's moving average.

    One batch is one step of the discriminator and one of the generator. All random numbers of a batch follow from
    the seed and the number of batches seen, so a resumed run draws what the unstopped run would have drawn.

    Args:
        generator: Latents (batch, generator.latent_dim) to images (batch, 1, n_freqs, n_frames) in [-1, 1].
        discriminator: Images to logits (batch,).
        loss: What the two minimise.
        penalty: What is added to the discriminator's loss to keep it smooth.
        generator_lr: Learning rate of the generator's Adam.
        discriminator_lr: Learning rate of the discriminator's Adam.
        betas: Adam's decay rates, of both.
        ema_decay: Decay of the moving average of the generator's weights that samples are made with (Karras et al.
            2018, section 4.1); lower at first, so that the average does not hang on the start.
        seed: Seed of the latents.

    Attributes:
        latent_dim: Length of a latent.
        batches_seen: Batches of the run so far, a resumed run's included: the x axis of all that is logged.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        penalty: Penalty | None = None,
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        ema_decay: float = 0.995,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Twice as fast on a CPU, and what tensor cores want.
        self.generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = AveragedModel(self.generator, multi_avg_fn=self._move_average)
        self.ema.requires_grad_(False)
        self.loss = loss
        self.penalty = penalty
        self.generator_lr = generator_lr
        self.discriminator_lr = discriminator_lr
        self.betas = betas
        self.ema_decay = ema_decay
        self.seed = seed
        self.latent_dim = cast(int, generator.latent_dim)
        self.batches_seen = 0

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """Generate with the averaged weights.

        Args:
            latents: Shape (batch, latent_dim), standard normal, any device.

        Returns:
            Images, shape (batch, 1, n_freqs, n_frames), in [-1, 1], on the module's device.
        """
        was_training = self.ema.training
        self.ema.eval()
        images: Tensor = self.ema(latents.to(self.device))
        self.ema.train(was_training)
        return images

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step of the discriminator, then one of the generator."""
        torch.manual_seed(derive_seed(self.seed, "step", self.batches_seen, self.global_rank))
        real = batch.images.to(memory_format=torch.channels_last)
        optimizer_g, optimizer_d = self._two_optimizers()
        latents = torch.randn(len(real), self.latent_dim, device=self.device)
        fake = self.generator(latents)

        real_logits = self.discriminator(real)
        fake_logits = self.discriminator(fake.detach())
        loss_d = self.loss.discriminator(real_logits, fake_logits)
        optimizer_d.zero_grad()
        self.manual_backward(loss_d)
        if self.penalty is not None and self.batches_seen % self.penalty.every == 0:
            self.manual_backward(self.penalty(self.discriminator, real, fake.detach()))
        optimizer_d.step()

        # The discriminator's weights need no gradient now: a third of its backward pass.
        self.discriminator.requires_grad_(False)
        loss_g = self.loss.generator(real_logits.detach(), self.discriminator(fake))
        optimizer_g.zero_grad()
        self.manual_backward(loss_g)
        optimizer_g.step()
        self.discriminator.requires_grad_(True)

        self.ema.update_parameters(self.generator)
        self.batches_seen += 1
        if self.trainer.is_last_batch:
            self._calibrate_average()
        self.log_dict({"loss_g": loss_g.detach(), "loss_d": loss_d.detach()}, prog_bar=True, logger=False)
        if self.batches_seen % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(
                {
                    "loss/generator": loss_g,
                    "loss/discriminator": loss_d,
                    "logits/real": real_logits.mean(),
                    "logits/fake": fake_logits.mean(),
                }
            )

    def on_validation_epoch_start(self) -> None:
        """Start the mean over the validation images."""
        self._validation_logits: list[Tensor] = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logits of images not trained on: where they fall below `logits/real`, the set is being learnt by heart."""
        self._validation_logits.append(self.discriminator(batch.images))

    def on_validation_epoch_end(self) -> None:
        """Log their mean."""
        self._log({"logits/validation": torch.cat(self._validation_logits).mean()})

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for each network, the generator's first."""
        generator = Adam(self.generator.parameters(), self.generator_lr, self.betas, fused=True)
        return [generator, Adam(self.discriminator.parameters(), self.discriminator_lr, self.betas, fused=True)]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights.

        Raises:
            InputError: If they are another network's.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            first = str(error).split("\n\t")[1]
            raise InputError(
                f"the checkpoint is of other networks than model.generator and model.discriminator describe ({first}); "
                "use the options that the run was started with"
            ) from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counter."""
        checkpoint["batches_seen"] = self.batches_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.batches_seen = checkpoint["batches_seen"]

    def _two_optimizers(self) -> Sequence[Any]:
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        return optimizers

    def _log(self, values: dict[str, Tensor]) -> None:
        # Not self.log: its x axis counts from 0 and, for a second optimizer, twice.
        for logger in self.loggers:
            logger.log_metrics({name: float(value.detach()) for name, value in values.items()}, step=self.batches_seen)

    def _move_average(self, averages: Any, values: Any, n_averaged: Any) -> None:
        decay = min(self.ema_decay, (1 + self.batches_seen) / (10 + self.batches_seen))
        torch._foreach_lerp_(averages, values, 1 - decay)

    def _calibrate_average(self) -> None:
        """Give the averaged generator batch statistics of its own.

        Neither the trained generator's nor their average fit the averaged weights: samples would be dim and blurred,
        and worse the longer the average is.
        """
        source = torch.Generator().manual_seed(derive_seed(self.seed, "calibrate", self.batches_seen))
        batches = [torch.randn(_CALIBRATION_BATCH, self.latent_dim, generator=source) for _ in range(4)]
        update_bn(batches, self.ema, self.device)
