"""When a training is saved, and how: whole or not at all, and never only once."""

import errno
import signal
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gan.errors import InputError, Stopped
from gan.files import atomic_write, remove_parts
from gan.run import Run
from gan.saved import load_checkpoint
from gan.stopping import Stopping

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Checkpoints(Checkpoint):
    """Saves a run after every epoch and every few minutes, and when it is asked to stop; see `gan.run.Run.checkpoints`.

    A run that goes on from any of them ends with the numbers of the run that was never stopped.

    Args:
        every_minutes: Minutes from one checkpoint to the next within an epoch: what a crash costs at most. 0 for one
            after each batch, null for none.
        n_kept: Newest checkpoints that are kept, of whole epochs and of the epoch under way, so that there is another
            if one is damaged.

    Raises:
        InputError: If a number makes no sense.
    """

    def __init__(self, every_minutes: float | None = 5.0, n_kept: int = 2) -> None:
        if every_minutes is not None and every_minutes < 0:
            raise InputError(f"checkpoint.every_minutes is {every_minutes}; it must be 0 or more, or null for never")
        if n_kept < 2:
            raise InputError(f"checkpoint.n_kept is {n_kept}; it must be 2 or more, so that one may be damaged")
        self.every_minutes = every_minutes
        self.n_kept = n_kept
        self.stopping = Stopping()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        # SIGTERM is Lightning's by now, which would stop before the batch is logged.
        self.stopping.catch()
        # Not over the devices: none of them is to wait for a batch because of this.
        self._group = torch.distributed.new_group(backend="gloo") if trainer.world_size > 1 else None
        self._saved = _batches_seen(pl_module)
        self._since = time.monotonic()
        run = self._run(trainer)
        if trainer.is_global_zero:
            remove_parts(run.checkpoint_folder)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save what is true between two batches, if it is time or the end.

        Raises:
            Stopped: If it was asked for.
        """
        waited = (time.monotonic() - self._since) / 60
        due = self.every_minutes is not None and waited >= self.every_minutes
        due, stop = self._agree(due, self.stopping.signal is not None)
        seen = _batches_seen(pl_module)
        if (due or stop) and seen != self._saved:
            self._save(trainer, seen, f"in_epoch_{trainer.current_epoch:04d}_batch_{seen:08d}.ckpt")
        if stop:
            number = self.stopping.signal or signal.SIGTERM
            where = f"after batch {seen}" if seen else "before its first batch"
            saved = "" if seen == self._saved else f", last saved after batch {self._saved}"
            raise Stopped(f"stopped {where}{saved}", 128 + number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; Lightning calls this after all others' and the module's own."""
        self._save(trainer, _batches_seen(pl_module), f"epoch_{trainer.current_epoch:04d}.ckpt")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Make Lightning's counters those of a boundary, and add what the last digits of all numbers depend on."""
        _settle(checkpoint["loops"]["fit_loop"])
        checkpoint["made_by"] = made_by(trainer)

    def _agree(self, *wishes: bool) -> list[bool]:
        """What any of the processes wishes."""
        if self._group is None:
            return list(wishes)
        together = torch.tensor(wishes, dtype=torch.uint8)
        torch.distributed.all_reduce(together, torch.distributed.ReduceOp.MAX, self._group)
        return [bool(wish) for wish in together]

    def _save(self, trainer: Trainer, batches_seen: int, name: str) -> None:
        run = self._run(trainer)
        # Curves up to here must be on the disk before the run goes on from here.
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment.flush()
        path = run.checkpoint_folder / name
        trainer.save_checkpoint(path)
        self._since = time.monotonic()
        if trainer.strategy.broadcast(path.exists()):
            self._saved = batches_seen
            if trainer.is_global_zero:
                _prune(run, self.n_kept)

    @staticmethod
    def _run(trainer: Trainer) -> Run:
        # All processes have to ask for it at once.
        return Run(Path(trainer.log_dir or "."))


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are either whole or not there; Lightning's own go through another file system's folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, sync, rename; if the disk is full, say so and leave things as they are."""
        try:
            # Given a path, torch does not say what went wrong.
            with atomic_write(Path(path)) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError) or cause.errno not in DISK_FULL:
                raise
            print(
                f"warning: {path} could not be saved ({cause.strerror}); older checkpoints are kept and the training "
                "goes on: make room on the disk",
                file=sys.stderr,
                flush=True,
            )

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read plain numbers only, whatever was asked for."""
        return load_checkpoint(Path(path), map_location)


def made_by(trainer: Trainer) -> dict[str, str | int]:
    """What the last digits of all numbers depend on, besides the configuration."""
    try:
        own = version("spectrogram-gan")
    except PackageNotFoundError:
        own = "not installed"
    return {
        "spectrogram-gan": own,
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
    }


def _batches_seen(module: LightningModule) -> int:
    return cast(int, module.batches_seen)


def _prune(run: Run, n_kept: int) -> None:
    """Delete all but the newest, and those within an epoch that has ended."""
    found, whole = run.checkpoints(), run.whole_epochs()
    n_newer = found.index(whole[0]) if whole else len(found)
    kept = {*found[: min(n_newer, n_kept)], *whole[:n_kept]}
    for path in found:
        if path not in kept:
            path.unlink(missing_ok=True)


def _settle(fit_loop: dict[str, Any]) -> None:
    """Make counters of Lightning's loops what they are between two batches or two epochs.

    They are saved in the midst of its hooks, where a batch or an epoch is half counted, and each such half has a way
    of going on of its own, some of which lose an epoch's end or a whole epoch.

    Args:
        fit_loop: Their state, changed in place.
    """
    epochs, batches = fit_loop["epoch_progress"], fit_loop["epoch_loop.batch_progress"]
    in_epoch = epochs["current"]["processed"] < epochs["current"]["ready"] and batches["current"]["completed"] > 0
    for count in (epochs["total"], epochs["current"]):
        count["completed"] = count["processed"]
        count["ready"] = count["started"] = count["processed"] + in_epoch
    for count in (batches["total"], batches["current"]):
        count["ready"] = count["started"] = count["processed"] = count["completed"]
    if not in_epoch:
        for name in batches["current"]:
            batches["current"][name] = 0
        batches["is_last_batch"] = False
