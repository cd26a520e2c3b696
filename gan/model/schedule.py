"""How far a training is, and schedules of learning rates that go on with others."""

from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Timer


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


def rebase(scheduler: dict[str, Any], rate: float) -> None:
    """Make a saved schedule one of another learning rate, and those that it consists of."""
    if "base_lrs" in scheduler:
        scheduler["base_lrs"] = [rate] * len(scheduler["base_lrs"])
    for part in scheduler.get("_schedulers", ()):
        rebase(part, rate)
