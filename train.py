"""Train a GAN on spectrogram images. `python train.py` trains, `python train.py --help` explains."""

import argparse
import logging
import shlex
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from gan.data.datamodule import ImageData
from gan.data.demo import make_demo
from gan.data.source import has_images
from gan.errors import InputError
from gan.files import atomic_write
from gan.listen.callbacks import Listen
from gan.model.gan import GAN
from gan.run import AtomicCheckpointIO, Run, load_checkpoint, new_run, newest_run

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.yaml"
OWN_IMAGES = Path("data/spectrograms")
DEMO = Path("data/demo")
# Lightning's own use of torch, and advice that does not fit here.
IGNORED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",
    ".*does not have many workers",
    ".*no `val_dataloader`",
    "Checkpoint directory .* exists and is not empty",
    "The number of training batches .* is smaller than the logging interval",
)


class Parser(LightningArgumentParser):
    """Says what is wrong in one line, without the pages of usage before it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with 2."""
        print(f"train.py: {' '.join(message.split())}; `python train.py --help` lists the options", file=sys.stderr)
        sys.exit(2)


class TrainingCLI(LightningCLI):
    """Lightning's command line with a run folder that is never written into twice, and --resume."""

    def __init__(self, resumed: Run | None, **kwargs: Any) -> None:
        self.resumed = resumed
        self.checkpoint = resumed.newest_checkpoint() if resumed else None
        self.state = load_checkpoint(self.checkpoint) if self.checkpoint else None
        super().__init__(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--resume", nargs="?", const="", metavar="RUN", help="Go on with a run's folder; with the newest if none."
        )
        parser.add_lightning_class_args(Listen, "listen")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("seed_everything", "model.seed")
        for network in ("generator", "discriminator"):
            target = f"model.{network}.init_args.image_size"
            parser.link_arguments("data.image_size", target, apply_on="instantiate")
        parser.set_defaults({"data.images": OWN_IMAGES if has_images(OWN_IMAGES) else DEMO / "images"})

    def before_instantiate_classes(self) -> None:
        if self.config.data.images == DEMO / "images":
            if not self.config.data.images.exists():
                print(f"no images in {OWN_IMAGES}: making the demo set in {DEMO} and training on that")
            make_demo(DEMO)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        root = Path(self.config.trainer.default_root_dir)
        self.run = self.resumed or new_run(root)
        # What a killed run logged after its last checkpoint is logged again: its curves must not overlap.
        purge_step = self.state["batches_seen"] + 1 if self.state else None
        logger = TensorBoardLogger(
            self.run.folder.parent, "", self.run.folder.name, default_hp_metric=False, purge_step=purge_step
        )
        # A progress bar in a log file is thousands of lines.
        bar = sys.stdout.isatty()
        trainer = super().instantiate_trainer(
            logger=logger, plugins=[AtomicCheckpointIO()], enable_progress_bar=bar, **kwargs
        )
        trainer.callbacks[:0] = [RunFolder(self.parser, self.config, self.run), *([] if bar else [EpochLines()])]
        return trainer

    def train(self) -> None:
        # Whatever does not fit is found now, before there is a run folder.
        self.datamodule.setup()
        if self.state:
            self.datamodule.load_state_dict(self.state["ImageData"])
        self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=self.checkpoint, weights_only=True)


class RunFolder(Callback):
    """Writes the run's config.yaml once everything has been found to fit, and says where the run and its sounds are."""

    def __init__(self, parser: LightningArgumentParser, config: Any, run: Run) -> None:
        self.parser = parser
        self.config = config
        self.run = run

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        config = self.config.clone()
        config.pop("resume")
        with atomic_write(self.run.config) as part:
            part.write_text(self.parser.dump(config), encoding="utf-8")
        networks = ", ".join(
            f"{name} {sum(weight.numel() for weight in network.parameters()) / 1e6:.1f} M weights"
            for name, network in (("generator", pl_module.generator), ("discriminator", pl_module.discriminator))
        )
        for line in trainer.datamodule.store.skipped:
            print(f"left out {line}")
        for line in trainer.datamodule.store.odd:
            print(f"odd: {line}")
        print(f"images: {describe(trainer.datamodule)}; {networks}")
        print(f"run: {self.run.folder}")
        # In an environment that is not activated the program is beside Python.
        tensorboard = "tensorboard" if shutil.which("tensorboard") else Path(sys.executable).with_name("tensorboard")
        # Without the numbers TensorBoard keeps ten clips of each sound.
        options = ["--logdir", self.run.folder.parent, "--samples_per_plugin", "audio=1000,images=1000"]
        print(f"listen: {shlex.join(map(str, [tensorboard, *options]))}")
        print("then open http://localhost:6006/#audio")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            print(f"stopped; `python train.py --resume {self.run.folder}` goes on after the last whole epoch")


def describe(data: ImageData) -> str:
    """The images of a run in a line."""
    n_freqs, n_frames = data.image_size
    seconds = n_frames * data.settings.hop_length / data.settings.sample_rate
    return (
        f"{len(data.train_images)} to train on and {len(data.validation_images)} to validate with in {data.images}, "
        f"crops of {n_freqs} x {n_frames} ({seconds:.2f} s)"
    )


class EpochLines(Callback):
    """A line an epoch, for where no progress bar can be drawn."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = ", ".join(f"{name} {float(value):.3f}" for name, value in trainer.progress_bar_metrics.items())
        seconds = time.monotonic() - self.start
        print(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {seconds:.1f} s, {values}", flush=True)


def find_resumed(arguments: list[str]) -> Run | None:
    """The run that --resume means: the named one, or the newest below --trainer.default_root_dir.

    Read before the real parser is made, because the run's config.yaml replaces default.yaml in it.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", nargs="?", const="")
    parser.add_argument("--trainer.default_root_dir", dest="root", default="runs")
    given, _ = parser.parse_known_args(arguments)
    if given.resume is None:
        return None
    try:
        run = Run(Path(given.resume)) if given.resume else newest_run(Path(given.root))
        run.newest_checkpoint()
    except InputError as error:
        raise InputError(f"nothing to resume: {error}") from error
    return run


def main() -> int:
    """Train; returns the exit code."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    try:
        resumed = find_resumed(sys.argv[1:])
        config = resumed.config if resumed else DEFAULT_CONFIG
        cli = TrainingCLI(
            resumed,
            model_class=GAN,
            datamodule_class=ImageData,
            parser_class=Parser,
            run=False,
            auto_configure_optimizers=False,
            save_config_callback=None,
            parser_kwargs={"default_config_files": [str(config)]},
        )
        cli.train()
    except InputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
