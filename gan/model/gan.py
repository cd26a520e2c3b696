"""The training step of a GAN, as a LightningModule."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gan.errors import InputError
from gan.model.augment import Augment
from gan.model.average import Average
from gan.model.losses import AdversarialLoss
from gan.model.penalties import Penalty, refuse_batch_norm
from gan.model.processes import gathered, mean_of_all
from gan.model.schedule import LearningRates, start_new
from gan.seed import derive_seed


class GAN(LightningModule):
    """A generator and a discriminator, trained against each other, and the generator's moving average.

    One batch is one step of the discriminator and, every n_discriminator_steps batches, one of the generator. All
    random numbers of a batch follow from the seed and the number of batches seen, so a resumed run draws what the
    unstopped run would have drawn.

    Args:
        generator: Latents (batch, generator.latent_dim), and labels (batch,) if it has classes, to images
            (batch, 1, n_freqs, n_frames) in [-1, 1].
        discriminator: Images, and labels if it has classes, to logits (batch,). If it has an attribute judges_alone
            that is true, real and fake images are judged in one pass.
        loss: What the two minimise.
        penalty: What is added to the discriminator's loss to keep it smooth.
        augment: How images are changed at random before the discriminator sees them.
        generator_lr: Learning rate of the generator's Adam.
        discriminator_lr: Learning rate of the discriminator's Adam.
        betas: Adam's decay rates, of both.
        lr_decay: Share of the run, at its end, in which both learning rates fall to 0 in a straight line, from epoch
            to epoch, so that the two networks stop chasing each other and what they agree on is kept. The run is as
            long as the trainer's max_epochs, max_steps or max_time says, whichever is nearest.
        lr_scheduler: Another schedule of both learning rates, stepped after every epoch, in place of lr_decay.
        n_discriminator_steps: Steps of the discriminator, each with a batch of its own, to one of the generator.
        gradient_clip: Greatest norm of a network's gradient; longer ones are shortened to it.
        ema_decay: Decay of the moving average of the generator's weights that samples are made with (Karras et al.
            2018, section 4.1); lower at first, so that the average does not hang on the start. 0 for no average:
            samples come from the newest weights.
        compile: Whether to have torch compile the networks when a training starts. That takes a minute, and pays on
            accelerators where the networks are small; last digits differ from those of a run that is not compiled.
        seed: Seed of the latents.

    Attributes:
        latent_dim: Length of a latent.
        n_classes: Number of classes that the networks are told of; 0 if they are not.
        batches_seen: Batches of the run so far, a resumed run's included: the x axis of all that is logged.
        latest: The losses and mean logits of the last batch, scalars on the module's device, under their tags.

    Raises:
        InputError: If the networks do not go together, with each other or with the penalty, or a number makes no sense.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        penalty: Penalty | None = None,
        augment: Augment | None = None,
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        lr_decay: float = 0.0,
        lr_scheduler: LRSchedulerCallable | None = None,
        n_discriminator_steps: int = 1,
        gradient_clip: float | None = None,
        ema_decay: float = 0.995,
        compile: bool = False,  # noqa: A002
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not hasattr(generator, "latent_dim"):
            raise InputError(
                f"model.generator is {type(generator).__name__}, which has no attribute latent_dim, the length of its "
                "latents; give a generator"
            )
        self.n_classes = cast(int, getattr(generator, "n_classes", 0))
        if self.n_classes != getattr(discriminator, "n_classes", 0):
            raise InputError("model.generator and model.discriminator must both be told the labels, or neither")
        if n_discriminator_steps < 1:
            raise InputError(f"model.n_discriminator_steps is {n_discriminator_steps}; it must be 1 or more")
        for name, rate in (("generator_lr", generator_lr), ("discriminator_lr", discriminator_lr)):
            if not 0 <= rate <= 1:
                raise InputError(f"model.{name} is {rate}; it must lie in [0, 1], 0.0005 is usual")
        for name, decays in (("betas", betas), ("ema_decay", (ema_decay,))):
            if not all(0 <= decay < 1 for decay in decays):
                shown = list(decays) if len(decays) > 1 else decays[0]
                raise InputError(f"model.{name} is {shown}; decay rates must lie in [0, 1)")
        if gradient_clip is not None and not gradient_clip > 0:
            raise InputError(f"model.gradient_clip is {gradient_clip}; it must be above 0, or null for none")
        if next(discriminator.parameters(), None) is None:
            raise InputError(f"model.discriminator is {type(discriminator).__name__}, which has no weights to train")
        if penalty is not None:
            refuse_batch_norm(discriminator, penalty)
        self.automatic_optimization = False
        # Twice as fast on a CPU, and what tensor cores want.
        self.generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = Average(self.generator)
        self.loss = loss
        self.penalty = penalty
        self.augment = augment
        self.generator_lr = generator_lr
        self.discriminator_lr = discriminator_lr
        self.betas = betas
        self._learning_rates = LearningRates((generator_lr, discriminator_lr), lr_decay, lr_scheduler)
        self.n_discriminator_steps = n_discriminator_steps
        self.gradient_clip = gradient_clip
        self.ema_decay = ema_decay
        self._is_to_compile = compile
        self.seed = seed
        self.latent_dim = cast(int, generator.latent_dim)
        self.batches_seen = 0
        self.latest: dict[str, Tensor] = {}

    @torch.no_grad()
    def sample(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate with the averaged weights.

        Args:
            latents: Shape (batch, latent_dim), standard normal, any device.
            labels: Shape (batch,), int64 in [0, n_classes), any device; needed if and only if there are classes. Or
                (batch, n_classes), float, weights of classes between which a sample is to be.

        Returns:
            Images, shape (batch, 1, n_freqs, n_frames), in [-1, 1], on the module's device.
        """
        with self.averaged() as generator:
            images: Tensor = generator(latents.to(self.device), *([] if labels is None else [labels.to(self.device)]))
        return images

    def sample_blocks(self, latents: Tensor, labels: Tensor | None = None) -> Iterator[Tensor]:
        """The images of `sample`, some hundred frames after the other if the generator makes any number of them.

        Yields:
            Shape (batch, 1, n_freqs, frames of the block).
        """
        blocks = getattr(self.generator, "latent_blocks", None)
        for part in [latents] if blocks is None else blocks(latents):
            yield self.sample(part, labels)

    @torch.no_grad()
    def sample_travel(self, wholes: Tensor, sequence: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate what changes from step to step, by a generator of `gan.model.endless`; see its `travel`."""
        with self.averaged() as generator:
            images: Tensor = generator.travel(
                wholes.to(self.device), sequence.to(self.device), None if labels is None else labels.to(self.device)
            )
        return images

    def averaged(self) -> AbstractContextManager[Any]:
        """The averaged generator in eval mode, and then as it was."""
        return self.ema.evaluated()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step of the discriminator, then, if it is its turn, one of the generator."""
        self._seed_step(0)
        real = batch.images.to(memory_format=torch.channels_last)
        labels = [batch.labels] if self.n_classes else []
        optimizer_g, optimizer_d = self._two_optimizers()
        latents = self._draw_latents(len(real))
        generators_turn = (self.batches_seen + 1) % self.n_discriminator_steps == 0
        with torch.set_grad_enabled(generators_turn):
            fake = self.generator(latents, *labels)
        self._discriminator_step(optimizer_d, real, fake.detach(), labels)
        if generators_turn:
            self._generator_step(optimizer_g, real, fake, labels)
            self.ema.follow(self.generator, self.ema_decay, self.batches_seen)
        self.batches_seen += 1
        self.latest = mean_of_all(self.latest, self.trainer)
        if self.batches_seen % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(self.latest)
            if self.augment is not None:
                self._log({"augment/probability": self.augment.probability})

    def _draw_latents(self, n: int) -> Tensor:
        """The latents of this process: its part of those that a single one would draw for all.

        What is drawn after them is each process' own.
        """
        first = self.global_rank * n
        latents = torch.randn(self.trainer.world_size * n, self.latent_dim, device=self.device)[first : first + n]
        if self.global_rank:
            self._seed_step(self.global_rank)
        return latents

    def _seed_step(self, rank: int) -> None:
        """Seed the processor and this module's device; torch.manual_seed is for all there might be, and takes 1 ms."""
        seed = derive_seed(self.seed, "step", self.batches_seen, rank)
        torch.default_generator.manual_seed(seed)
        # Only accelerators have numbers.
        if self.device.index is not None:
            torch.get_device_module(self.device).manual_seed(seed)

    def on_train_epoch_start(self) -> None:
        """Let the learning rates fall where the end of the run is near."""
        self._learning_rates.fall(self._two_optimizers(), self.trainer)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Make the average ready for what listens and saves at an epoch's end, be it cut short or not."""
        # Lightning ends an epoch at max_steps without a word.
        out_of_steps = 0 <= self.trainer.max_steps <= self.trainer.global_step
        if self.trainer.is_last_batch or self.trainer.should_stop or out_of_steps:
            self.calibrate_average()

    def on_train_epoch_end(self) -> None:
        """Let the learning rates follow their schedule."""
        for scheduler in self._schedulers():
            scheduler.step()

    def _discriminator_step(self, optimizer: Any, real: Tensor, fake: Tensor, labels: list[Tensor]) -> None:
        if self.augment is not None:
            real, fake = self.augment(real), self.augment(fake)
        real_logits, fake_logits = self._logits_of_both(real, fake, labels)
        loss = self.loss.discriminator(real_logits, fake_logits)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.penalty is not None and self.batches_seen % self.penalty.every == 0:
            # What is compiled cannot be differentiated twice.
            with torch.compiler.set_stance("force_eager" if self._is_to_compile else "default"):
                penalty = self.penalty(lambda images: self._logits(images, labels), real, fake)
                self.manual_backward(penalty)
            self.latest["loss/penalty"] = penalty.detach() / self.penalty.every
        self._clip(self.discriminator, optimizer)
        optimizer.step()
        if self.augment is not None:
            everywhere = gathered(real_logits, self.trainer), gathered(fake_logits, self.trainer)
            self.augment.update(*everywhere, self.loss.relative)
        self.latest |= {
            "loss/discriminator": loss.detach(),
            "logits/real": real_logits.detach().mean(),
            "logits/fake": fake_logits.detach().mean(),
        }

    def _generator_step(self, optimizer: Any, real: Tensor, fake: Tensor, labels: list[Tensor]) -> None:
        # The discriminator's weights need no gradient now: a third of its backward pass.
        learning = [weight for weight in self.discriminator.parameters() if weight.requires_grad]
        for weight in learning:
            weight.requires_grad_(False)
        if self.augment is not None:
            real, fake = self.augment(real), self.augment(fake)
        # Relative losses weigh fake against real, and the discriminator has moved since it last judged the real ones.
        real_logits = self._logits(real, labels) if self.loss.relative else real.new_zeros(len(real))
        loss = self.loss.generator(real_logits, self._logits(fake, labels))
        optimizer.zero_grad()
        self.manual_backward(loss)
        self._clip(self.generator, optimizer)
        optimizer.step()
        for weight in learning:
            weight.requires_grad_(True)
        self.latest["loss/generator"] = loss.detach()

    def _logits_of_both(self, real: Tensor, fake: Tensor, labels: list[Tensor]) -> tuple[Tensor, Tensor]:
        if not getattr(self.discriminator, "judges_alone", False):
            return self._logits(real, labels), self._logits(fake, labels)
        # One pass is a few percent faster than two, and a third where networks are small for what works on them.
        together = self._logits(torch.cat([real, fake]), [each.repeat(2) for each in labels])
        return together[: len(real)], together[len(real) :]

    def _logits(self, images: Tensor, labels: list[Tensor]) -> Tensor:
        logits: Tensor = self.discriminator(images, *labels)
        # Losses are differences of logits, which half precision rounds away.
        return logits.float()

    def _clip(self, network: nn.Module, optimizer: Any) -> None:
        if self.gradient_clip is not None:
            # float16's gradients are multiples until the optimizer divides them.
            if (scaler := getattr(self.trainer.precision_plugin, "scaler", None)) is not None:
                scaler.unscale_(optimizer.optimizer)
            clip_grad_norm_(network.parameters(), self.gradient_clip)

    def on_validation_epoch_start(self) -> None:
        """Start the mean over the validation images."""
        self._validation_logits: list[Tensor] = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logits of images not trained on: where they fall below `logits/real`, the set is being learnt by heart."""
        self._validation_logits.append(self._logits(batch.images, [batch.labels] if self.n_classes else []))

    def on_validation_epoch_end(self) -> None:
        """Log their mean."""
        self._log({"logits/validation": torch.cat(self._validation_logits).mean()})

    def configure_optimizers(self) -> Any:
        """Adam for each network, the generator's first, and their schedules."""
        optimizers: list[Optimizer] = [
            Adam(self.generator.parameters(), self.generator_lr, self.betas, fused=True),
            Adam(self.discriminator.parameters(), self.discriminator_lr, self.betas, fused=True),
        ]
        return optimizers, self._learning_rates.schedulers(optimizers)

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
        """Add the counter, where the learning rates are in their fall, and what was logged last."""
        checkpoint["batches_seen"] = self.batches_seen
        checkpoint["lr_factor"] = self._learning_rates.factor
        checkpoint["latest"] = self.latest

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting, with the learning rates that are asked for now; the optimizers would bring back theirs."""
        self.batches_seen = checkpoint["batches_seen"]
        self.latest = dict(checkpoint.get("latest", {}))
        self._learning_rates.go_on(checkpoint)

    def on_fit_start(self) -> None:
        """Compile, in place: names of weights stay. The averaged generator, which is for other sizes too, is not."""
        if self._is_to_compile:
            # The few sizes of batches get code of their own: what is for any size is slower.
            self.generator.compile(dynamic=False)
            self.discriminator.compile(dynamic=False)

    def on_train_start(self) -> None:
        """Bring what was logged last to the device, and start a schedule that a resumed run did not have before."""
        self.latest = {name: value.to(self.device) for name, value in self.latest.items()}
        start_new(self._schedulers())

    def _two_optimizers(self) -> Sequence[Any]:
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        return optimizers

    def _schedulers(self) -> Sequence[LRScheduler]:
        schedulers = self.lr_schedulers()
        return schedulers if isinstance(schedulers, list) else []

    def _log(self, values: Mapping[str, Tensor | float]) -> None:
        # Not self.log: its x axis counts from 0 and, for a second optimizer, twice.
        for logger in self.loggers:
            logger.log_metrics({name: float(value) for name, value in values.items()}, step=self.batches_seen)

    def calibrate_average(self) -> None:
        """Give the averaged generator batch statistics of its own; see `Average.calibrate`.

        Done after the last batch of each epoch; before the first batch it makes samples of the untrained generator what
        they will be in training.
        """
        self.ema.calibrate(self.latent_dim, self.n_classes, derive_seed(self.seed, "calibrate", self.batches_seen))
