"""What a training will take, found by doing a little of it: seconds, memory, disk, and which batches would fit."""

import contextlib
import io
import math
import statistics
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.profilers import SimpleProfiler

from gan.errors import InputError
from gan.info.description import duration, n_bytes
from gan.run import Run
from gan.training import TrainingCLI

# Lazy penalties fall on every second to every eighth batch.
_N_BATCHES = 8
# The first does much for once, the second evaluates for the first time, the third does not, the fourth does again.
_N_EPOCHS = 4
_EVALUATE_EVERY = 2
# Of quick trainings more is looked at, so that what else the machine does is evened out.
_LEAST_SECONDS = 20.0
_NEVER = 10**9
# Of the memory that is free: what is left over is the rest of the computer's.
_SHARE = 0.8
# Callbacks that do what they do every few epochs.
_PARTS = ("listen", "watchdog", "evaluate")


def shorten(config: Any, root: Path) -> None:
    """Make a configuration that of a few batches with all that comes after an epoch.

    Args:
        config: Of `python train.py`, changed in place.
        root: Where the short run is to lie.
    """
    evaluates = _is_reached(config.evaluate.every_n_epochs, config.trainer.max_epochs)
    for part in _PARTS:
        config[part].every_n_epochs = 1
    config.evaluate.every_n_epochs = _EVALUATE_EVERY if evaluates else _NEVER
    # What there is to say of networks that have learnt nothing is nothing new.
    config.watchdog.grace_batches, config.watchdog.patience = 0, _NEVER
    config.model.lr_decay = 0.0
    config.trainer.default_root_dir = root
    config.trainer.max_epochs, config.trainer.max_steps, config.trainer.max_time = _NEVER, -1, None
    config.trainer.limit_train_batches = _N_BATCHES


def _is_reached(every: int, n_epochs: int | None) -> bool:
    return n_epochs is None or n_epochs < 0 or every <= n_epochs


class _Memory(threading.Thread):
    """Looks at the memory of a device, or of this process, every few milliseconds, and remembers the most.

    Attributes:
        most: Bytes, at any time.
        most_of_batches: The same of while `in_batch` was set.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(daemon=True)
        self.in_batch = False
        self.most = self.most_of_batches = 0
        self._device = device
        self._process = psutil.Process()
        self._over = threading.Event()

    def held(self) -> int:
        """Bytes that are held now."""
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return int(self._process.memory_info().rss)

    def free_and_total(self) -> tuple[int, int]:
        """Bytes that are free now, and all."""
        if self._device.type == "cuda":
            return torch.cuda.mem_get_info(self._device)
        memory = psutil.virtual_memory()
        return int(memory.available), int(memory.total)

    def look(self) -> None:
        """Remember what is held now, or, of a device that keeps count, was held since the last time."""
        now = torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else self.held()
        self.most = max(self.most, now)
        if self.in_batch:
            self.most_of_batches = max(self.most_of_batches, now)

    def run(self) -> None:
        """Look until it is over."""
        while not self._over.wait(0.005):
            self.look()

    def __enter__(self) -> "_Memory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


class _Epoch(NamedTuple):
    """When a short epoch began and its last batch was done, and TensorBoard's bytes at its end."""

    start: float
    last_batch: float
    event_bytes: int


class _Meter(Callback):
    """Keeps the time of a short training, called after all others, and ends it when enough was seen."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self.began = time.monotonic()
        self.epochs: list[_Epoch] = []
        self.bytes_before = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock."""
        self._start = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """What is held before the first batch is not a batch's."""
        if not self.bytes_before:
            weights = sum(weight.nbytes for weight in pl_module.parameters())
            # Gradients and Adam's two means come with the first step, and stay.
            self.bytes_before = self._memory.held() + 3 * weights
        self._memory.in_batch = not self.epochs

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The clock."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._memory.look()
        self._memory.in_batch = False
        self._last_batch = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what is known so far; what comes after is measured up to the next epoch's start."""
        events = Path(trainer.log_dir or ".").glob("events.out.tfevents.*")
        self.epochs.append(_Epoch(self._start, self._last_batch, sum(path.stat().st_size for path in events)))
        enough = time.monotonic() - self.began > _LEAST_SECONDS
        if enough and len(self.epochs) >= _N_EPOCHS and len(self.epochs) % _EVALUATE_EVERY == 0:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock."""
        self.ended = time.monotonic()


class Estimate(NamedTuple):
    """What a training will take.

    Attributes:
        n_epochs: Of the run; None if it has no end.
        n_batches: Of an epoch.
        batch_size: Crops in a batch.
        batch_seconds: Of a batch.
        end_seconds: Of what comes after each epoch's batches, on average, with all that is done every few epochs.
        once_seconds: Of what is done once.
        memory: Bytes at most.
        batch_memory: Bytes of those that a batch takes.
        checkpoint_bytes: Of all checkpoints that are kept.
        listening_bytes: Of sounds and pictures in files at the end.
        event_bytes: Of TensorBoard's file, an epoch.
        store_bytes: Of the decoded images.
        free: Bytes of memory that nobody has while this training has its own.
        total: Bytes of memory.
    """

    n_epochs: int | None
    n_batches: int
    batch_size: int
    batch_seconds: float
    end_seconds: float
    once_seconds: float
    memory: int
    batch_memory: int
    checkpoint_bytes: int
    listening_bytes: int
    event_bytes: float
    store_bytes: int
    free: int
    total: int

    @property
    def epoch_seconds(self) -> float:
        """Of an epoch with all that comes after it."""
        return self.n_batches * self.batch_seconds + self.end_seconds

    @property
    def seconds(self) -> float | None:
        """Of the whole run, from its start; None if it has no end."""
        return None if self.n_epochs is None else self.once_seconds + self.n_epochs * self.epoch_seconds

    @property
    def run_bytes(self) -> float:
        """Of the run's folder at its end, or after 100 epochs if there is none."""
        return self.checkpoint_bytes + self.listening_bytes + (self.n_epochs or 100) * self.event_bytes

    @property
    def fitting_batch(self) -> int:
        """The largest power of two of crops that there is memory for, and that an epoch has."""
        per_crop = self.batch_memory / self.batch_size
        most = min(int(self.batch_size + _SHARE * self.free / per_crop), self.n_batches * self.batch_size)
        return 1 << most.bit_length() - 1

    def lines(self) -> list[str]:
        """For people."""
        crops = f"{self.n_batches} batches of {self.batch_size} crops, {self.batch_seconds:.3g} s each"
        share = self.end_seconds / self.epoch_seconds
        whole = f"{self.n_epochs} epochs: {duration(self.seconds)}" if self.seconds is not None else "no end is given"
        when = "at the end" if self.n_epochs is not None else "after 100 epochs"
        return [
            f"an epoch: {duration(self.epoch_seconds)} ({crops}; listening, measuring and saving {share:.0%})",
            f"in all: {whole}",
            f"memory: {n_bytes(self.memory)} of {n_bytes(self.total)}; batches of {self.fitting_batch} would fit",
            f"disk: {n_bytes(round(self.run_bytes))} {when} (checkpoints {n_bytes(self.checkpoint_bytes)}), "
            f"and {n_bytes(self.store_bytes)} of decoded images",
        ]


def estimate(cli: TrainingCLI, asked: Any, train: Callable[[], None]) -> Estimate:
    """Train for a moment, and work out what the whole training will take.

    Args:
        cli: Whose configuration was shortened, with its trainer and model.
        asked: The configuration before that.
        train: Trains.

    Raises:
        InputError: If there is not enough memory for a batch.
    """
    trainer = cli.trainer
    trainer.profiler = profiler = SimpleProfiler()  # type: ignore[attr-defined]
    with _Memory(trainer.strategy.root_device) as memory:
        meter = _Meter(memory)
        trainer.callbacks.append(meter)  # type: ignore[attr-defined]
        try:
            # What is said of a run is said of one that nobody keeps.
            with contextlib.redirect_stdout(io.StringIO()):
                train()
        except torch.OutOfMemoryError as error:
            size = asked.data.batch_size
            raise InputError(
                f"a batch of {size} does not fit into the memory of {trainer.strategy.root_device}; try "
                f"--data.batch_size {max(1, size // 2)}"
            ) from error
    epochs, folder = meter.epochs, cli.run.folder
    starts = [epoch.start for epoch in epochs[1:]] + [meter.ended]
    ends = [start - epoch.last_batch for start, epoch in zip(starts, epochs, strict=True)]
    # The third epoch is the first in which nothing is done for the first time, and is not evaluated; the fourth is.
    plain, evaluated = (statistics.median(ends[first::_EVALUATE_EVERY]) for first in (2, 3))
    parts = dict.fromkeys(_PARTS, 0.0) | {
        part: statistics.median(profiler.recorded_durations[f"[Callback]{name}.on_train_epoch_end"][2:])
        for part, name in (("listen", "Listen"), ("watchdog", "Watchdog"))
    }
    parts["evaluate"] = max(0.0, evaluated - plain)
    every = {part: asked[part].every_n_epochs for part in _PARTS}
    evaluates = Run(folder).best_checkpoint.exists()
    n_batches = _n_batches(len(cli.datamodule.train_dataloader()), asked.trainer.limit_train_batches)
    batch_seconds = statistics.fmean(
        (epoch.last_batch - epoch.start) / min(_N_BATCHES, n_batches) for epoch in epochs[1:]
    )
    end_seconds = plain - parts["listen"] - parts["watchdog"] + sum(parts[part] / every[part] for part in _PARTS)
    once_seconds = epochs[0].start - meter.began + ends[0] - plain + evaluates * (ends[1] - evaluated)
    n_epochs = asked.trainer.max_epochs if (asked.trainer.max_epochs or -1) > 0 else None
    if asked.trainer.max_steps > 0:
        # Of the discriminator with every batch, of the generator in its turn.
        n_steps = 1 + 1 / asked.model.n_discriminator_steps
        n_within = math.ceil(asked.trainer.max_steps / (n_steps * n_batches))
        n_epochs = n_within if n_epochs is None else min(n_within, n_epochs)
    if asked.trainer.max_time is not None:
        seconds = (Timer(asked.trainer.max_time).time_remaining() or 0.0) - once_seconds
        n_within = max(1, int(seconds / (n_batches * batch_seconds + end_seconds)))
        n_epochs = n_within if n_epochs is None else min(n_within, n_epochs)
    checkpoint, moments = Run(folder).whole_epochs()[0], sorted((folder / "listen").glob("epoch_*"))
    minutes = asked.checkpoint.every_minutes
    saves_within = minutes is not None and n_batches * batch_seconds > 60 * minutes
    n_checkpoints = asked.checkpoint.n_kept * (1 + saves_within) + evaluates
    n_heard = asked.listen.n_kept if n_epochs is None else min(asked.listen.n_kept, n_epochs // every["listen"])
    grown = [later.event_bytes - epoch.event_bytes for epoch, later in pairwise(epochs)]
    return Estimate(
        n_epochs,
        n_batches,
        asked.data.batch_size,
        batch_seconds,
        end_seconds,
        once_seconds,
        memory.most,
        max(1, memory.most_of_batches - meter.bytes_before),
        n_checkpoints * checkpoint.stat().st_size,
        _n_bytes_in(folder / "listen" / "references") + sum(map(_n_bytes_in, moments[:1])) * n_heard,
        grown[1] / every["listen"] + max(0, grown[2] - grown[1]) / every["evaluate"],
        cli.datamodule.store.n_bytes,
        *memory.free_and_total(),
    )


def _n_batches(n_all: int, limit: int | float | None) -> int:
    """Batches of an epoch of which the trainer takes a number, which a command line makes a float, or a share."""
    if limit is None:
        return n_all
    return min(n_all, int(limit)) if limit > 1 or isinstance(limit, int) else int(n_all * limit)


def _n_bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
