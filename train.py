"""Train a GAN on spectrogram images. `python train.py` trains, `python train.py --help` explains."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.strategies import DDPStrategy

from gan.data.datamodule import ImageData
from gan.data.listing import has_images
from gan.estimate import estimate, shorten
from gan.listen.board import Board
from gan.listen.callbacks import Listen
from gan.listen.evaluate import Evaluate
from gan.listen.watchdog import Watchdog
from gan.model.gan import GAN
from gan.training import TrainingCLI, run_training

OWN_IMAGES = Path("data/spectrograms")
DEMO = Path("data/demo")


class GANCLI(TrainingCLI):
    """Trains a GAN and listens to it; without images of the user's own, on the demo set."""

    command = "python train.py"
    default_config = Path(__file__).parent / "configs" / "default.yaml"
    module = GAN
    data = ImageData

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--estimate", action="store_true", help="Say how long the run will take, and its memory and disk; no run."
        )
        for callback, name in ((Listen, "listen"), (Watchdog, "watchdog"), (Evaluate, "evaluate")):
            parser.add_lightning_class_args(callback, name)
        for name in ("watchdog", "evaluate"):
            parser.link_arguments("listen.phase", f"{name}.phase")
        for network in ("generator", "discriminator"):
            for option in ("image_size", "n_classes"):
                parser.link_arguments(f"data.{option}", f"model.{network}.init_args.{option}", apply_on="instantiate")
        parser.set_defaults({"data.images": OWN_IMAGES if has_images(OWN_IMAGES) else DEMO / "images"})

    def before_instantiate_classes(self) -> None:
        if self.config.data.images == DEMO / "images":
            from gan.data.demo import make_demo

            if not self.config.data.images.exists():
                print(f"no images in {OWN_IMAGES}: making the demo set in {DEMO} and training on that")
            make_demo(DEMO)
        if self.config.estimate:
            self.asked = self.config.clone()
            self.short = tempfile.TemporaryDirectory()
            shorten(self.config, Path(self.short.name))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        trainer = super().instantiate_trainer(**kwargs)
        if isinstance(trainer.strategy, DDPStrategy):
            # A backward pass goes through one network of the two, or both; DDP waits for all gradients otherwise.
            trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
        # Behind all that takes time in an epoch; what saves is called last wherever it stands.
        trainer.callbacks.append(Board(self.run, self.describe, self.pace))
        return trainer

    def describe(self) -> list[str]:
        networks = ", ".join(
            f"{name} {sum(weight.numel() for weight in network.parameters()) / 1e6:.1f} M weights"
            for name, network in (("generator", self.model.generator), ("discriminator", self.model.discriminator))
        )
        store = self.datamodule.store
        return [
            *(f"left out {line}" for line in store.skipped),
            *(f"odd: {line}" for line in store.odd),
            *(f"note: {line}" for line in self.datamodule.notes),
            f"images: {describe(self.datamodule)}; {networks}",
        ]

    def set_up(self) -> None:
        super().set_up()
        for callback in self.trainer.callbacks:
            if isinstance(callback, Listen):
                callback.prepare(self.datamodule.settings)

    def train(self) -> None:
        if not self.config.estimate:
            super().train()
            return
        with self.short:
            found = estimate(self, self.asked, super().train)
        if self.trainer.is_global_zero:
            print("\n".join(found.lines()))


def describe(data: ImageData) -> str:
    """The images of a run in a line."""
    n_freqs, n_frames = data.image_size
    seconds = n_frames * data.settings.hop_length / data.settings.sample_rate
    return (
        f"{len(data.train_images)} to train on and {len(data.validation_images)} to validate with in {data.images}, "
        f"crops of {n_freqs} x {n_frames} ({seconds:.2f} s)"
    )


def main() -> int:
    """Train; returns the exit code."""
    return run_training(GANCLI, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
