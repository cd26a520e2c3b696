"""Says while a GAN trains what is wrong with it, and stops it when it is lost."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm

from gan.data.crops import fresh_frames, side_by_side
from gan.data.datamodule import ImageData
from gan.errors import Diverged, InputError
from gan.listen.board import writers_of
from gan.listen.callbacks import data_of
from gan.listen.symptoms import Symptom, peaks_over_full_scale, symptoms_of_losses, symptoms_of_samples
from gan.listen.traits import Traits
from gan.model.gan import GAN
from gan.run import Run
from gan.seed import derive_seed
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.reconstructor import PhaseMethod

_LOGS = ("loss/discriminator", "loss/generator", "logits/real", "logits/fake")
_N_SAMPLES = 8
_N_REAL = 32
# Inversion is most of the cost, and what only the sound tells is told from a few.
_N_SOUNDS = 4
_N_REAL_SOUNDS = 8


class Watchdog(Callback):
    """Looks at samples and losses after an epoch and says in a line what is wrong, once, and once when it is over.

    Samples of fixed latents are compared with real crops: silence, one steady tone, stripes and buzz at the rate of
    the frames, peaks above full scale, all alike. Losses: a discriminator that has won or tells nothing, a loss that
    runs away. See `gan.listen.traits` for the measures. What is found stands in TensorBoard's text tab too, what is
    measured in its curves.

    Losses or weights that are not numbers end the training before they get into a checkpoint.

    Args:
        phase: How images become sound: the method that is listened to.
        every_n_epochs: Epochs from one look to the next.
        patience: Looks in a row that something must be there, or gone, before it is said.
        grace_batches: Batches at the start of a run in which nothing is said: every generator begins with silence and
            with samples that are all alike.

    Raises:
        InputError: If a number makes no sense.
        Diverged: In training, if losses or weights are not numbers.
    """

    def __init__(
        self, phase: PhaseMethod, every_n_epochs: int = 1, patience: int = 2, grace_batches: int = 500
    ) -> None:
        for name, value, least in (
            ("every_n_epochs", every_n_epochs, 1),
            ("patience", patience, 1),
            ("grace_batches", grace_batches, 0),
        ):
            if value < least:
                raise InputError(f"watchdog.{name} is {value}; it must be {least} or more")
        self.phase = phase
        self.every_n_epochs = every_n_epochs
        self.patience = patience
        self.grace_batches = grace_batches
        # Looks in a row that each symptom was there, or, below zero, was not.
        self._streaks: dict[str, int] = {}
        self._open: dict[str, str] = {}
        self._unread: list[Tensor] = []
        self._read: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """What has been said, so that a resumed run does not say it again, and the losses of the epoch under way."""
        unread = [torch.stack(self._unread).cpu()] if self._unread else []
        losses = torch.cat([torch.empty(0, len(_LOGS)), *self._read, *unread]).tolist()
        return {"streaks": dict(self._streaks), "open": dict(self._open), "losses": losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self._streaks = dict(state_dict["streaks"])
        self._open = dict(state_dict["open"])
        losses = state_dict.get("losses")
        self._read = [torch.tensor(losses)] if losses else []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the real crops."""
        if trainer.is_global_zero:
            data = data_of(trainer)
            self._reconstruct = self.phase(data.settings)
            fresh = fresh_frames(data.store, data.train_images, data.n_frames)
            images = data.crops().__getitems__(side_by_side(fresh, data.n_frames, _N_REAL)).images
            sounding = torch.linspace(0, len(images) - 1, min(_N_REAL_SOUNDS, len(images))).long()
            self._real = self._traits(images.to(pl_module.device), sounding, data)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last epoch's losses; not called in an epoch that is gone on with."""
        self._unread, self._read = [], []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the losses on the device, read them every log_every_n_steps batches and look for what is no number."""
        assert isinstance(pl_module, GAN)
        latest = pl_module.latest
        # Where the discriminator has more steps, the generator has no loss yet.
        missing = torch.zeros((), device=pl_module.device)
        self._unread.append(torch.stack([latest.get(name, missing).float() for name in _LOGS]))
        if pl_module.batches_seen % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._stop_if_diverged(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, and say what is new."""
        assert isinstance(pl_module, GAN)
        self._stop_if_diverged(trainer, pl_module)
        too_early = pl_module.batches_seen <= self.grace_batches
        if too_early or not trainer.is_global_zero or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        self._tell(trainer, pl_module, [*self._look_at_losses(pl_module), *self._look_at_samples(trainer, pl_module)])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save no weights that are not numbers, whenever a checkpoint is asked for."""
        assert isinstance(pl_module, GAN)
        self._stop_if_diverged(trainer, pl_module)

    def _look_at_losses(self, module: GAN) -> list[Symptom]:
        if not self._read:
            return []
        logs = dict(zip(_LOGS, torch.cat(self._read).unbind(1), strict=True))
        zero = torch.zeros(1)
        chance = {
            "loss/discriminator": float(module.loss.discriminator(zero, zero)),
            "loss/generator": float(module.loss.generator(zero, zero)),
        }
        return symptoms_of_losses(logs, chance)

    def _look_at_samples(self, trainer: Trainer, module: GAN) -> list[Symptom]:
        source = torch.Generator().manual_seed(derive_seed(module.seed, "watchdog"))
        latents = torch.randn(_N_SAMPLES, module.latent_dim, generator=source)
        labels = None
        if module.n_classes:
            # Two of each of some classes: whether a class has more than one sound is asked too.
            labels = torch.linspace(0, module.n_classes - 1, _N_SAMPLES // 2).round().long().repeat_interleave(2)
        images = module.sample(latents, labels)
        sounding = torch.arange(0, _N_SAMPLES, _N_SAMPLES // _N_SOUNDS)
        traits = self._traits(images, sounding, data_of(trainer))
        for logger in trainer.loggers:
            curves = {f"watchdog/{name}": value for name, value in traits.beside(self._real).items()}
            curves["watchdog/over_full_scale_db"] = float(peaks_over_full_scale(traits, self._real).max())
            logger.log_metrics(curves, step=module.batches_seen)
        return symptoms_of_samples(traits, self._real)

    def _traits(self, images: Tensor, sounding: Tensor, data: ImageData) -> Traits:
        images = images.nan_to_num(-1.0)
        waveforms = waveform_from_image(images[sounding.to(images.device)], data.scale, self._reconstruct)
        return Traits.of(images, data.scale, data.settings, waveforms)

    def _tell(self, trainer: Trainer, module: GAN, symptoms: Iterable[Symptom]) -> None:
        found = {symptom.name: symptom for symptom in symptoms}
        lines = []
        for name in sorted(found.keys() | self._streaks.keys()):
            streak = self._streaks.get(name, 0)
            self._streaks[name] = streak = max(streak, 0) + 1 if name in found else min(streak, 0) - 1
            if streak >= self.patience and name not in self._open:
                self._open[name] = f"{found[name].found}; try: {found[name].advice}"
                lines.append(f"{name}: {self._open[name]}")
            elif streak <= -self.patience:
                del self._streaks[name]
                if self._open.pop(name, None):
                    lines.append(f"{name}: gone")
        if not lines:
            return
        for line in lines:
            print(f"watchdog: {line}", flush=True)
        text = "\n".join(f"- **{name}**: {line}" for name, line in self._open.items()) or "nothing is wrong any more"
        for writer in writers_of(trainer):
            writer.add_text("watchdog", text, module.batches_seen)

    def _stop_if_diverged(self, trainer: Trainer, module: GAN) -> None:
        since, what = module.batches_seen, ""
        if self._unread:
            losses = torch.stack(self._unread).cpu()
            self._unread = []
            self._read.append(losses)
            bad = ~losses.isfinite()
            if bad.any():
                first = int(bad.any(1).nonzero()[0])
                since += first + 1 - len(losses)
                what = _LOGS[int(bad[first].nonzero()[0])]
        if not what:
            what = _not_finite(module)
        # All processes stop, or those that go on would wait for the others.
        if trainer.strategy.reduce_boolean_decision(bool(what), all=False):
            raise Diverged(
                f"{what or 'a loss of another process'} is not a number since about batch {since}, so the training "
                f"was stopped; {_how_to_go_on(trainer)}"
            )


def _not_finite(module: GAN) -> str:
    """Which network has weights or statistics that are not numbers; an empty string for none."""
    networks = {"generator": module.generator, "discriminator": module.discriminator, "averaged generator": module.ema}
    norms = [
        get_total_norm([tensor for tensor in network.state_dict().values() if tensor.is_floating_point()])
        for network in networks.values()
    ]
    # One reading for all. Weights whose squares overflow are as good as infinite.
    norms_read = torch.stack(norms).cpu()
    for name, finite in zip(networks, norms_read.isfinite().tolist(), strict=True):
        if not finite:
            return f"a weight of the {name}"
    return ""


def _how_to_go_on(trainer: Trainer) -> str:
    smaller = "a smaller model.generator_lr and model.discriminator_lr"
    saved = Run(Path(trainer.log_dir or ".")).checkpoints()
    if saved:
        return f"{saved[0]} is the last good checkpoint and is kept: go on from it with --resume and {smaller}"
    return f"there is no checkpoint yet: start again with {smaller}"
