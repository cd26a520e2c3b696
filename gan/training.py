"""What every training's command line has: a run folder that is never written into twice, --resume, a line an epoch."""

import argparse
import glob
import logging
import shlex
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import yaml
from jsonargparse import set_parsing_settings
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from gan.allocation import is_lack_of_memory, keep_freed_memory
from gan.checkpoints import DISK_FULL, AtomicCheckpointIO, Checkpoints, made_by
from gan.errors import Diverged, InputError, Stopped, one_line
from gan.files import atomic_write, refuse_unwritable
from gan.nulls import in_place_of_options, refuse_nulls
from gan.pace import Bar, Pace
from gan.plain import check_unfolded
from gan.refusing import Refusing
from gan.resuming import compare_made_by, keep_others_out, load_weights, newest_undamaged, put_aside_newer
from gan.run import Run, new_run, newest_run, read_yaml
from gan.senseless import refuse_senseless
from gan.trained import said_by_class

# Lightning's own use of torch, and advice that does not fit here.
_IGNORED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",
    ".*does not have many workers",
    ".*no `val_dataloader`",
    "Total length of `list` across ranks is zero",
    "You're resuming from a checkpoint that ended before the epoch ended",
    "The number of training batches .* is smaller than the logging interval",
    "LightningCLI's args parameter is intended to run from within Python",
)


# Options in groups.
_PARTS = frozenset({"data", "model", "trainer", "checkpoint", "listen", "watchdog", "evaluate"})


class Parser(Refusing, LightningArgumentParser):
    """Lightning's, that says what is wrong in one line."""


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
        self.checkpoint: Path | None = None
        self.state: dict[str, Any] | None = None
        if self.resumed:
            self.checkpoint, self.state = newest_undamaged(self.resumed.checkpoints())
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
            # They are patterns, and brackets in a folder's name would be a part of one.
            parser_kwargs={"default_config_files": [glob.escape(str(config))], "prog": self.command},
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add --resume, --init-from and the checkpoints' options."""
        parser.add_argument(
            "--resume", nargs="?", const="", metavar="RUN", help="Go on with a run's folder; with the newest if none."
        )
        parser.add_argument(
            "--init-from", type=Path, metavar="CHECKPOINT", help="Begin a new run with the weights of this checkpoint."
        )
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("seed_everything", "model.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line, and refuse null where an option must have a value and numbers that make no sense.

        Raises:
            InputError: If there is one.
        """
        super().parse_arguments(parser, args)
        refuse_nulls(parser, self.config)
        refuse_senseless(self.config)

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
        """Lightning's trainer with the run's folder as its logger's.

        Raises:
            InputError: If it refuses its options.
        """
        root = Path(self.config.trainer.default_root_dir or self.root)
        self.run = self.resumed or new_run(root)
        # What a killed run logged after its last checkpoint is logged again: its curves must not overlap.
        purge_step = self.state["batches_seen"] + 1 if self.state else None
        logger = TensorBoardLogger(
            self.run.folder.parent, "", self.run.folder.name, default_hp_metric=False, purge_step=purge_step
        )
        # A progress bar in a log file is thousands of lines.
        bar = sys.stdout.isatty()
        plugins: list[Any] = [AtomicCheckpointIO()]
        if SLURMEnvironment.detect():
            # Its own way of being requeued saves beside the run and goes on with that, whatever --resume says.
            plugins.append(SLURMEnvironment(auto_requeue=False))
        try:
            trainer: Trainer = super().instantiate_trainer(
                logger=logger, plugins=plugins, enable_progress_bar=False, **kwargs
            )
        except (ValueError, TypeError) as error:
            raise InputError(f"trainer: {error}") from error
        precision = trainer.precision
        if precision.endswith("-true") and precision != "32-true":
            raise InputError(
                f"trainer.precision is {precision}; weights stay in float32: use 32-true, bf16-mixed or 16-mixed"
            )
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if bar:
            # The losses beside it are read from the device, which has to have done all that it was given until then.
            callbacks.append(Bar(1 if trainer.strategy.root_device.type == "cpu" else 10))
        callbacks.insert(0, RunFolder(self))
        # After what listens and measures, whose time is an epoch's too; before what writes its state down.
        last = sum(not isinstance(callback, Checkpoint) for callback in callbacks)
        self.pace = Pace(lines=not bar)
        callbacks.insert(last, self.pace)
        return trainer

    def describe(self) -> list[str]:
        """Lines about what is trained on and what is trained, for the start of a run."""
        return []

    def set_up(self) -> None:
        """Find whatever does not fit, before there is a run folder.

        Raises:
            InputError: If something does not.
        """
        refuse_unwritable(self.run.folder)
        self.datamodule.setup("fit")

    def train(self) -> None:
        """Train from the start or from where the resumed run was."""
        if self.trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        with ExitStack() as self._until_the_end:
            self._train()

    def _train(self) -> None:
        self.set_up()
        if self.state:
            self.datamodule.load_state_dict(self.state[type(self.datamodule).__qualname__])
            self.made_by = self.state.get("made_by", {})
            if self.trainer.is_global_zero:
                self.keep_others_out()
        elif self.config.init_from:
            load_weights(self.model, self.config.init_from)
        # Lightning reads it itself.
        self.state = None
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        (checkpoints,) = (each for each in callbacks if isinstance(each, Checkpoints))
        try:
            with checkpoints.stopping:
                self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=self.checkpoint, weights_only=True)
        except Stopped as stopped:
            if not self.trainer.is_global_zero:
                raise Stopped("", stopped.exit_code) from stopped
            raise Stopped(f"{stopped}; {self._how_to_go_on()}", stopped.exit_code) from stopped
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            where = error.filename or self.run.folder
            raise Stopped(f"{where}: {error.strerror}; make room on the disk; {self._how_to_go_on()}", 1) from error

    def keep_others_out(self) -> None:
        """Be the only one that trains the run, until it ends.

        Raises:
            InputError: If another process trains it.
        """
        self._until_the_end.enter_context(keep_others_out(self.run))

    def _how_to_go_on(self) -> str:
        if not self.run.checkpoints():
            return "there is nothing to resume"
        return f"`{shlex.join([*self.command.split(), '--resume', str(self.run.folder)])}` goes on"

    def _find_resumed(self, arguments: Sequence[str]) -> Run | None:
        """The run that --resume means: the named one, or the newest below --trainer.default_root_dir.

        Read before the real parser is made, because the run's config.yaml replaces the default one in it.
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--resume", nargs="?", const="")
        parser.add_argument("--init-from", "--init_from")
        parser.add_argument("--estimate", action="store_true")
        parser.add_argument("--trainer.default_root_dir", dest="root", default=self.root)
        given, _ = parser.parse_known_args(arguments)
        if given.resume is None:
            return None
        if given.estimate:
            raise InputError("--estimate is for a run that has not begun, --resume for one that has; give one of them")
        if given.init_from is not None:
            raise InputError("--resume goes on with a run, --init-from begins a new one; give one of them")
        try:
            run = Run(Path(given.resume)) if given.resume else newest_run(Path(given.root), in_epoch=True)
            if not (run.checkpoints() and run.config.exists()):
                run.newest_checkpoint()
        except InputError as error:
            raise InputError(f"nothing to resume: {error}") from error
        check_unfolded(run.read_config(), str(run.config))
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
            config = read_yaml(path) if path.is_file() else None
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read as a configuration ({error})") from error
        check_unfolded(config, str(path))
        for name, part in config.items() if isinstance(config, dict) else ():
            # Text is the name of a file that holds the part.
            is_text = isinstance(part, str) and part.isprintable()
            if name in _PARTS and not (isinstance(part, dict) or is_text):
                raise InputError(f"{path}: {in_place_of_options(name, part)}")


class RunFolder(Callback):
    """Writes the run's config.yaml once everything has been found to fit, and says where the run and its sounds are."""

    def __init__(self, cli: TrainingCLI) -> None:
        self.cli = cli

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print."""
        if not trainer.is_global_zero:
            return
        run = self.cli.run
        if self.cli.checkpoint:
            put_aside_newer(run, self.cli.checkpoint)
            # Not before: with several processes each has its share of the threads now.
            compare_made_by(self.cli.made_by, made_by(trainer))
        else:
            self.cli.keep_others_out()
        config = self.cli.config.clone()
        for name in ("resume", "estimate"):
            config.pop(name, None)
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


def run_training(cli: type[TrainingCLI], arguments: Sequence[str]) -> int:
    """Parse a command line and train; returns the exit code."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    name = cli.command.removeprefix("python ")
    try:
        cli(arguments).train()
    except (InputError, Diverged, MisconfigurationException) as error:
        print(f"{name}: {one_line(str(error))}", file=sys.stderr)
        return 1 if isinstance(error, Diverged) else 2
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        advice = "a smaller data.batch_size takes less, and so do smaller networks"
        print(f"{name}: there is not enough memory; {advice} ({one_line(str(error))})", file=sys.stderr)
        return 2
    except Stopped as stopped:
        # Of several processes one speaks.
        if str(stopped):
            print(f"{name}: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print(f"{name}: stopped before the training began", file=sys.stderr)
        return 130
    return 0
