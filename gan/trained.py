"""The model of a run, built from its config and a checkpoint, and the images that it was trained on."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gan.errors import InputError
from gan.nulls import refuse_nulls
from gan.plain import check_unfolded
from gan.run import Run, checkpoints_of
from gan.saved import ImagesOfRun, is_within_epoch, load_of_gan
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from gan.data.datamodule import ImageData
    from gan.model.gan import GAN


@dataclass(frozen=True)
class Trained:
    """A model and all that turns its images into sound.

    Attributes:
        gan: The module, in eval mode.
        settings: The grid of its images.
        scale: Which levels its images' -1 and 1 are.
        network: What its generator is made of: "class_path" and "init_args".
        n_frames: Width of the crops that it was trained on.
        class_names: Names of the labels that it was told; none if it was told none.
        batches_seen: How long it was trained.
        run: The run.
        checkpoint: The checkpoint.
    """

    gan: "GAN"
    settings: SpectrogramSettings
    scale: ImageScale
    network: dict[str, Any]
    n_frames: int
    class_names: tuple[str, ...]
    batches_seen: int
    run: Run
    checkpoint: Path

    @property
    def about(self) -> str:
        """Where it comes from, for people."""
        return f"run {self.run.folder.name}, checkpoint {self.checkpoint.name}, batch {self.batches_seen}"


def load_run(run: Run, checkpoint: Path | None = None, device: str = "cpu") -> Trained:
    """Load the model of a run.

    The networks are built from the run's own config.yaml, which names classes to import: like a Python file, open
    only what you trust. The checkpoint itself is read as plain numbers.

    Args:
        run: The run.
        checkpoint: One of its checkpoints; the newest if not given.
        device: Where to put the model.

    Raises:
        InputError: If there is no checkpoint, it cannot be read, or there is no such device.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device is {device}, which cannot be used ({reason}); cpu always can") from error
    checkpoint = run.newest_checkpoint() if checkpoint is None else checkpoint
    state = load_of_gan(checkpoint, device)
    gan = _networks(run, state)
    gan.load_state_dict(state["state_dict"])
    gan.to(device)
    if is_within_epoch(state):
        gan.calibrate_average()
    data = ImagesOfRun.of(state, checkpoint)
    return Trained(
        gan.eval(),
        data.settings,
        data.scale,
        _network(run, state, gan.generator),
        data.image_size[1],
        data.class_names if gan.n_classes else (),
        state["batches_seen"],
        run,
        checkpoint,
    )


def load_best(path: Path, device: str = "cpu") -> Trained:
    """Load the best model of a run if one was found, else the newest.

    Args:
        path: A run's folder, or one of its checkpoints, which then is loaded.
        device: Where to put the model.

    Raises:
        InputError: As of `checkpoints_of` and `load_run`.
    """
    run, checkpoints = checkpoints_of(path)
    return load_run(run, checkpoints.get("best", next(iter(checkpoints.values()))), device)


def untrained(run: Run, checkpoint: Path) -> "GAN":
    """The networks of a run as they are before the first batch, in eval mode: what a trained model is compared with."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(run.read_config()["seed_everything"])
        gan = _networks(run, load_of_gan(checkpoint))
    gan.calibrate_average()
    return gan.eval()


def open_data(run: Run, checkpoint: Path, images: Path | None = None) -> "ImageData":
    """The images of a run, split and scaled as it was trained on them.

    Args:
        run: The run.
        checkpoint: One of its checkpoints, which knows the scale.
        images: Other images of the same kind, to compare with; the run's own if not given.

    Raises:
        InputError: If they are no longer there or not the same kind of images.
    """
    from jsonargparse import ArgumentParser

    from gan.data.datamodule import ImageData

    config = run.read_config()
    given = config["data"] | {"seed": config["seed_everything"]}
    if images is not None:
        given |= {"images": str(images), "store": None}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ImageData, "data")
    data: ImageData = _instantiated(parser, {"data": given}, run).data
    data.load_state_dict(load_of_gan(checkpoint)["ImageData"])
    data.setup("fit")
    return data


def _network(run: Run, state: dict[str, Any], generator: nn.Module) -> dict[str, Any]:
    """The generator's class and all its options, those that it was told of the images with them."""
    config = run.read_config()["model"]["generator"]
    accepted = inspect.signature(type(generator)).parameters
    told = {name: value for name, value in _told(run, state).items() if name in accepted}
    return {"class_path": config["class_path"], "init_args": config.get("init_args", {}) | told}


def _told(run: Run, state: dict[str, Any]) -> dict[str, Any]:
    data = state["ImageData"]
    return {
        "image_size": data["image_size"],
        "n_classes": len(data["class_names"]) if run.read_config()["data"].get("conditional") else 0,
    }


def _networks(run: Run, state: dict[str, Any]) -> "GAN":
    from jsonargparse import ArgumentParser

    from gan.model.gan import GAN

    config, told = run.read_config(), _told(run, state)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(_Told, "data")
    parser.add_class_arguments(GAN, "model")
    # As train.py does: a network of somebody's own need not have both, and which network is made first, and so has
    # the first random numbers, depends on how they are linked.
    for network in ("generator", "discriminator"):
        for option in told:
            parser.link_arguments(f"data.{option}", f"model.{network}.init_args.{option}", apply_on="instantiate")
    gan: GAN = _instantiated(parser, {"model": config["model"], "data": told}, run).model
    return gan


def _instantiated(parser: "ArgumentParser", given: dict[str, Any], run: Run) -> Any:
    from jsonargparse import ArgumentError

    # The parser's messages write out what they are about.
    check_unfolded(given, str(run.config))
    try:
        parsed = parser.parse_object(given)
        refuse_nulls(parser, parsed)
    except (ArgumentError, ValueError, TypeError) as error:
        raise InputError(f"{run.config}: cannot be used ({error})") from error
    try:
        return parser.instantiate(parsed)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{run.config}: cannot be used ({said_by_class(error)})") from error


def said_by_class(error: ValueError) -> str:
    """What a class has said of its options: where it may be left out, jsonargparse wraps that into words of its own."""
    return str(error).rpartition("Errors:\n  - ")[2].partition("\n  - ")[0]


@dataclass(frozen=True)
class _Told:
    """What networks are told of the images: stands for the data module."""

    image_size: tuple[int, int]
    n_classes: int
