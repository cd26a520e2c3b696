"""What every training's command line has: a run folder that is never written into twice, --resume, a line an epoch."""

import argparse
import logging
import shlex
import shutil
import statistics
import sys
import time
import warnings
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
import yaml
from jsonargparse import set_parsing_settings
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from tqdm import tqdm

from gan.errors import Diverged, InputError, one_line
from gan.files import atomic_write
from gan.run import Run, load_checkpoint, new_run, newest_run, said_by_class

# Lightning's own use of torch, and advice that does not fit here.
_IGNORED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",
    ".*does not have many workers",
    ".*no `val_dataloader`",
    "Total length of `list` across ranks is zero",
    "Checkpoint directory .* exists and is not empty",
    "The number of training batches .* is smaller than the logging interval",
    "LightningCLI's args parameter is intended to run from within Python",
)


# Options in groups.
_PARTS = frozenset({"data", "model", "trainer", "checkpoint", "listen", "watchdog", "evaluate"})


class Parser(LightningArgumentParser):
    """Says what is wrong in one line, without the pages of usage before it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with 2."""
        program = self.prog.split()[-1]
        print(f"{program}: {' '.join(message.split())}; `{self.prog} --help` lists the options", file=sys.stderr)
        sys.exit(2)


class TrainingCLI(LightningCLI):
    """Lightning's command line with run folders and --resume.

    Attributes:
        command: What the user types.
        root: Where runs are if nothing else is said.
        default_config: The whole truth; a resumed run's own config.yaml takes its place.
        module: The LightningModule.
        data: The LightningDataModule.
    """

    command: ClassVar[str]
    root: ClassVar[str] = "runs"
    default_config: ClassVar[Path]
    module: ClassVar[type[LightningModule]]
    data: ClassVar[type[LightningDataModule]]

    def __init__(self, arguments: Sequence[str]) -> None:
        self.resumed = self._find_resumed(arguments)
        self.checkpoint = self.resumed.newest_checkpoint() if self.resumed else None
        self.state = load_checkpoint(self.checkpoint) if self.checkpoint else None
        config = self.resumed.config if self.resumed else self.default_config
        # Lightning lets configurations come from anywhere; they name classes to import.
        set_parsing_settings(config_read_mode_fsspec_enabled=False)
        _refuse_unreadable(arguments)
        super().__init__(
            model_class=self.module,
            datamodule_class=self.data,
            parser_class=Parser,
            run=False,
            auto_configure_optimizers=False,
            save_config_callback=None,
            parser_kwargs={"default_config_files": [str(config)], "prog": self.command},
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add --resume and the checkpoints' options."""
        parser.add_argument(
            "--resume", nargs="?", const="", metavar="RUN", help="Go on with a run's folder; with the newest if none."
        )
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("seed_everything", "model.seed")

    def instantiate_classes(self) -> None:
        """Make everything.

        Raises:
            InputError: If a class refuses its options.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            if isinstance(error.__cause__, InputError) or "Does not validate against any" in str(error):
                raise InputError(said_by_class(error)) from error
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Lightning's trainer with the run's folder as its logger's."""
        root = Path(self.config.trainer.default_root_dir)
        self.run = self.resumed or new_run(root)
        # What a killed run logged after its last checkpoint is logged again: its curves must not overlap.
        purge_step = self.state["batches_seen"] + 1 if self.state else None
        logger = TensorBoardLogger(
            self.run.folder.parent, "", self.run.folder.name, default_hp_metric=False, purge_step=purge_step
        )
        # A progress bar in a log file is thousands of lines.
        bar = sys.stdout.isatty()
        trainer: Trainer = super().instantiate_trainer(
            logger=logger, plugins=[AtomicCheckpointIO()], enable_progress_bar=bar, **kwargs
        )
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        callbacks.insert(0, RunFolder(self))
        # After what listens and measures, whose time is an epoch's too; before what writes its state down.
        last = sum(not isinstance(callback, Checkpoint) for callback in callbacks)
        callbacks.insert(last, Pace(lines=not bar))
        return trainer

    def describe(self) -> list[str]:
        """Lines about what is trained on and what is trained, for the start of a run."""
        return []

    def train(self) -> None:
        """Train from the start or from where the resumed run was."""
        # Whatever does not fit is found now, before there is a run folder.
        self.datamodule.setup("fit")
        if self.state:
            self.datamodule.load_state_dict(self.state[type(self.datamodule).__qualname__])
        self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=self.checkpoint, weights_only=True)

    def _find_resumed(self, arguments: Sequence[str]) -> Run | None:
        """The run that --resume means: the named one, or the newest below --trainer.default_root_dir.

        Read before the real parser is made, because the run's config.yaml replaces the default one in it.
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--resume", nargs="?", const="")
        parser.add_argument("--trainer.default_root_dir", dest="root", default=self.root)
        given, _ = parser.parse_known_args(arguments)
        if given.resume is None:
            return None
        try:
            run = Run(Path(given.resume)) if given.resume else newest_run(Path(given.root))
            run.newest_checkpoint()
        except InputError as error:
            raise InputError(f"nothing to resume: {error}") from error
        return run


def _refuse_unreadable(arguments: Sequence[str]) -> None:
    """Refuse files of --config that are no configurations, by their names.

    Where one is nested without end the parser in C, which is to read it next, would take the process with it.

    Raises:
        InputError: If one is.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    given, _ = parser.parse_known_args(arguments)
    for path in map(Path, given.config):
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read as a configuration ({error})") from error
        for name, part in config.items() if isinstance(config, dict) else ():
            # Text is the name of a file that holds the part.
            is_text = isinstance(part, str) and part.isprintable()
            if name in _PARTS and not (part is None or isinstance(part, dict) or is_text):
                raise InputError(f"{path}: {name} is {part!r:.60}, where its options were expected")


class RunFolder(Callback):
    """Writes the run's config.yaml once everything has been found to fit, and says where the run and its sounds are."""

    def __init__(self, cli: TrainingCLI) -> None:
        self.cli = cli

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print."""
        if not trainer.is_global_zero:
            return
        run = self.cli.run
        config = self.cli.config.clone()
        config.pop("resume")
        with atomic_write(run.config) as part:
            part.write_text(self.cli.parser.dump(config), encoding="utf-8")
        for line in self.cli.describe():
            print(line)
        print(f"run: {run.folder}")
        # In an environment that is not activated the program is beside Python.
        tensorboard = "tensorboard" if shutil.which("tensorboard") else Path(sys.executable).with_name("tensorboard")
        # Without the numbers TensorBoard keeps ten clips of each sound.
        options = ["--logdir", run.folder.parent, "--samples_per_plugin", "audio=1000,images=1000"]
        print(f"listen: {shlex.join(map(str, [tensorboard, *options]))}")
        print("then open http://localhost:6006/#audio")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say how to go on."""
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            command = f"{self.cli.command} --resume {self.cli.run.folder}"
            print(f"stopped; `{command}` goes on after the last whole epoch")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are either whole or not there; Lightning's own go through another file system's folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, sync, rename."""
        with atomic_write(Path(path)) as part:
            torch.save(checkpoint, part)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read plain numbers only, whatever was asked for."""
        return load_checkpoint(Path(path), map_location)


class Pace(Callback):
    """How long epochs take, with listening and measuring: kept in checkpoints, for `gan info`.

    Args:
        lines: Whether to print a line an epoch, for where no progress bar can be drawn.
    """

    def __init__(self, lines: bool) -> None:
        self.lines = lines
        # The last ten: other work on the machine comes and goes.
        self._laps: deque[float] = deque(maxlen=10)

    @property
    def seconds(self) -> float:
        """Of an epoch, on average, without the longest, in which something was made for once, as a classifier is."""
        laps = sorted(self._laps)
        return statistics.fmean(laps if len(laps) < 3 else laps[:-1])

    def state_dict(self) -> dict[str, Any]:
        """The last epochs' lengths, for a checkpoint."""
        return {"laps": list(self._laps), "seconds": self.seconds if self._laps else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self._laps.extend(state_dict["laps"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, if it does not run since the last epoch."""
        self._start = getattr(self, "_start", time.monotonic())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note down the time, and print."""
        now = time.monotonic()
        self._laps.append(now - self._start)
        self._start = now
        if not self.lines:
            return
        values = ", ".join(f"{name} {float(value):.3f}" for name, value in trainer.progress_bar_metrics.items())
        print(
            f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {self._laps[-1]:.1f} s{self._left(trainer)}, "
            f"{values}",
            flush=True,
        )

    def _left(self, trainer: Trainer) -> str:
        n_left = (trainer.max_epochs or -1) - trainer.current_epoch - 1
        if n_left <= 0 or trainer.max_steps != -1:
            return ""
        return f", {tqdm.format_interval(n_left * self.seconds)} left"


def run_training(cli: type[TrainingCLI], arguments: Sequence[str]) -> int:
    """Parse a command line and train; returns the exit code."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    try:
        cli(arguments).train()
    except (InputError, Diverged, MisconfigurationException) as error:
        print(f"{cli.command.split()[-1]}: {one_line(str(error))}", file=sys.stderr)
        return 1 if isinstance(error, Diverged) else 2
    return 0
