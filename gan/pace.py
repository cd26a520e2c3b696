"""How long the epochs of a training take, and how much of it is left."""

import math
import statistics
import time
from collections import deque
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer, TQDMProgressBar
from torch import Tensor
from tqdm import tqdm


class Bar(TQDMProgressBar):
    """Lightning's, with the losses of the last batch as the module holds them.

    What Lightning itself shows there is read from the device after every batch, be it shown or not.
    """

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The losses, read now; short, or the last ones would be cut off."""
        return {name.removeprefix("loss/"): value for name, value in _losses(pl_module).items()}


class Pace(Callback):
    """How long epochs take, with listening and measuring: a curve, a line an epoch, and in checkpoints for `gan info`.

    Args:
        lines: Whether to print a line an epoch, for where no progress bar can be drawn.
    """

    def __init__(self, lines: bool) -> None:
        self.lines = lines
        # The last ten: other work on the machine comes and goes.
        self._laps: deque[float] = deque(maxlen=10)
        self._elapsed = 0.0

    @property
    def seconds(self) -> float:
        """Of an epoch, on average, without the longest, in which something was made for once, as a classifier is.

        Not a number before the first one has ended.
        """
        if not self._laps:
            return math.nan
        laps = sorted(self._laps)
        return statistics.fmean(laps if len(laps) < 3 else laps[:-1])

    def state_dict(self) -> dict[str, Any]:
        """The last epochs' lengths, for a checkpoint."""
        elapsed = time.monotonic() - self._start
        return {"laps": list(self._laps), "seconds": self.seconds if self._laps else None, "elapsed": elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self._laps.extend(state_dict["laps"])
        self._elapsed = state_dict.get("elapsed", 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, with what a resumed epoch took before."""
        self._start = time.monotonic() - self._elapsed

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note down the time, and print."""
        now = time.monotonic()
        self._laps.append(now - self._start)
        self._start = now
        for logger in trainer.loggers:
            logger.log_metrics({"time/epoch": self._laps[-1]}, step=cast(int, pl_module.batches_seen))
        if not self.lines or not trainer.is_global_zero:
            return
        values = ", ".join(f"{name} {value:.3f}" for name, value in _losses(pl_module).items())
        print(
            f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {self._laps[-1]:.1f} s{self._left(trainer)}, "
            f"{values}",
            flush=True,
        )

    def _left(self, trainer: Trainer) -> str:
        n_left = (trainer.max_epochs or -1) - trainer.current_epoch - 1
        if n_left <= 0 or trainer.max_steps != -1:
            return ""
        seconds = n_left * self.seconds
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            # A run of a given time may end before its epochs do.
            if isinstance(callback, Timer) and (remaining := callback.time_remaining()) is not None:
                seconds = min(seconds, max(0.0, remaining))
        return f", {tqdm.format_interval(seconds)} left"


def _losses(module: LightningModule) -> dict[str, float]:
    latest = cast(dict[str, Tensor], module.latest)
    return {name: float(value) for name, value in sorted(latest.items()) if name.startswith("loss/")}
