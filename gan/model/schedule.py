"""The learning rates of a training: how they change in a run, and in one that goes on with others."""

from collections.abc import Sequence
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.cli import LRSchedulerCallable
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gan.errors import InputError


class LearningRates:
    """The learning rates of some optimizers.

    Args:
        rates: What they begin with, one of each optimizer.
        decay: Share of the run, at its end, in which all of them fall to 0 in a straight line.
        scheduler: Another schedule of each, in place of the decay.

    Attributes:
        factor: How far they have fallen, in [0, 1].

    Raises:
        InputError: If the decay is no share.
    """

    def __init__(self, rates: Sequence[float], decay: float, scheduler: LRSchedulerCallable | None) -> None:
        if not 0 <= decay <= 1:
            raise InputError(f"model.lr_decay is {decay}; it is a share of the run and must lie in [0, 1]")
        self._rates = rates
        self._decay = decay
        self._scheduler = scheduler
        self.factor = 1.0

    def schedulers(self, optimizers: Sequence[Optimizer]) -> list[LRScheduler]:
        """A schedule of each optimizer; none if they fall by the decay.

        Raises:
            InputError: If it does not know the rates by the epoch alone.
        """
        made = [self._scheduler(optimizer) for optimizer in optimizers] if self._scheduler else []
        if any(isinstance(schedule, ReduceLROnPlateau) for schedule in made):
            raise InputError(
                "model.lr_scheduler is ReduceLROnPlateau, which waits for a loss to stop falling, as those of a GAN do "
                "from the start; take one that goes by epochs"
            )
        return made

    def fall(self, optimizers: Sequence[Optimizer], trainer: Trainer) -> None:
        """Set what the decay makes of them now."""
        if self._scheduler is not None or not self._decay:
            return
        # By one clock: with rates of their own, processes would have weights of their own.
        progress = trainer.strategy.broadcast(progress_of(trainer))
        self.factor = min(1.0, (1.0 - progress) / self._decay)
        for optimizer, rate in zip(optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = self.factor * rate

    def go_on(self, checkpoint: dict[str, Any]) -> None:
        """Change a checkpoint of a run to the rates that are asked for now; its optimizers would bring back theirs.

        Args:
            checkpoint: "lr_factor", and Lightning's "optimizer_states" and "lr_schedulers", changed in place.
        """
        self.factor = checkpoint.get("lr_factor", 1.0) if self._decay else 1.0
        for optimizer, rate in zip(checkpoint["optimizer_states"], self._rates, strict=True):
            for group in optimizer["param_groups"]:
                begun_with = group.get("initial_lr", group["lr"])
                if self._scheduler is None or not begun_with:
                    group["lr"] = self.factor * rate
                elif rate != begun_with:
                    group["lr"] *= rate / begun_with
                if self._scheduler is not None:
                    group["initial_lr"] = rate
        for scheduler, rate in zip(checkpoint["lr_schedulers"], self._rates, strict=False):
            _rebase(scheduler, rate)


def start_new(schedulers: Sequence[LRScheduler]) -> None:
    """Start schedules that a resumed run did not have before."""
    for scheduler in schedulers:
        if scheduler.last_epoch == 0:
            for group, rate in zip(scheduler.optimizer.param_groups, scheduler.get_last_lr(), strict=True):
                group["lr"] = rate


def progress_of(trainer: Trainer) -> float:
    """How much of a run is done, in [0, 1], by that of its limits which is reached first; 0 if it has none."""
    shares = [0.0]
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        shares.append(trainer.current_epoch / trainer.max_epochs)
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (remaining := callback.time_remaining()) is not None:
            elapsed = callback.time_elapsed()
            shares.append(elapsed / (elapsed + max(0.0, remaining)))
    return min(1.0, max(shares))


def _rebase(scheduler: dict[str, Any], rate: float) -> None:
    """Make a saved schedule one of another learning rate, and those that it consists of."""
    if "base_lrs" in scheduler:
        scheduler["base_lrs"] = [rate] * len(scheduler["base_lrs"])
    for part in scheduler.get("_schedulers", ()):
        _rebase(part, rate)
