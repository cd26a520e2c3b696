"""A run's folder: its config, its checkpoints, and the model in them.

`runs/<name>/config.yaml` is the whole configuration, `checkpoints/epoch_*.ckpt` weights, optimizers, counters and
spectrogram settings after an epoch, `checkpoints/in_epoch_*.ckpt` the same between two batches of the epoch under way,
`checkpoints/best.ckpt` of the epoch whose samples were nearest to the real ones, `events.out.tfevents.*` what
TensorBoard shows and plays, `evaluation.json` what `gan evaluate` found.
"""

import inspect
import pickle
import re
import time
import zipfile
from dataclasses import dataclass, fields
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import nn

from gan.errors import InputError
from gan.nulls import refuse_nulls
from gan.plain import made_of
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from gan.data.datamodule import ImageData
    from gan.model.gan import GAN

# Epochs count from 0, batches are those of the whole run.
_WHOLE_EPOCHS = "epoch_*.ckpt"
# The end of torch's names for what `get_extra_state` gives.
_EXTRA_STATE = "_extra_state"
_CHECKPOINT = re.compile(r"(in_)?epoch_(\d+)(?:_batch_(\d+))?\.ckpt")


@dataclass(frozen=True)
class Run:
    """The folder of one training run."""

    folder: Path

    @property
    def config(self) -> Path:
        """The run's whole configuration."""
        return self.folder / "config.yaml"

    def read_config(self) -> dict[str, Any]:
        """What stands in it, as plain data: nothing that it names is imported.

        Raises:
            InputError: If it is no configuration of a run.
        """
        try:
            config = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise InputError(f"{self.config}: cannot be read as a run's configuration ({error})") from error
        parts = ("data", "model", "trainer")
        if not isinstance(config, dict) or not all(isinstance(config.get(name), dict) for name in parts):
            raise InputError(f"{self.config}: no configuration of a run, which has the parts data, model and trainer")
        made_of(int, config.get("seed_everything"), f"{self.config}: seed_everything")
        for name in ("images", "recordings", "store"):
            made_of(str | None, config["data"].get(name), f"{self.config}: data.{name}")
        made_of(int | None, config["trainer"].get("max_epochs"), f"{self.config}: trainer.max_epochs")
        return config

    @property
    def checkpoint_folder(self) -> Path:
        """Where its checkpoints are."""
        return self.folder / "checkpoints"

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint whose samples were nearest to the real ones, if there was an evaluation."""
        return self.checkpoint_folder / "best.ckpt"

    def whole_epochs(self) -> list[Path]:
        """The checkpoints after an epoch, the newest first."""
        return sorted(self.checkpoint_folder.glob(_WHOLE_EPOCHS), reverse=True)

    def checkpoints(self) -> list[Path]:
        """All that a training can go on from, the newest first: those within an epoch too."""
        places = {}
        for path in self.checkpoint_folder.glob("*.ckpt"):
            if found := _CHECKPOINT.fullmatch(path.name):
                places[path] = int(found[2]), found[1] is None, int(found[3] or 0)
        return sorted(places, key=places.__getitem__, reverse=True)

    def newest_checkpoint(self) -> Path:
        """The checkpoint of the last whole epoch.

        Raises:
            InputError: If there is none yet.
        """
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such run; runs are folders like runs/2026-01-31_12-00-00")
        found = self.whole_epochs()
        if not found or not self.config.exists():
            raise InputError(f"{self.folder}: no checkpoint in it: the run was stopped before its first epoch ended")
        return found[0]


def checkpoints_of(path: Path) -> tuple[Run, dict[str, Path]]:
    """The run that a path means, and its checkpoints by their names: the newest, and the best if there is one.

    Args:
        path: A run's folder, or one of its checkpoints, which then is the only one.

    Raises:
        InputError: If there is none.
    """
    if path.suffix == ".ckpt":
        if not path.is_file():
            raise InputError(f"{path}: no such checkpoint")
        run = Run(path.parent.parent)
        if not run.config.exists():
            raise InputError(f"{path}: not in a run's folder, whose config.yaml says what its networks are")
        return run, {path.stem: path}
    run = Run(path)
    checkpoints = {"newest": run.newest_checkpoint()}
    return run, checkpoints | ({"best": run.best_checkpoint} if run.best_checkpoint.exists() else {})


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


def new_run(root: Path) -> Run:
    """A run below root that does not exist yet, named after the time."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return Run(next(root / name for name in names if not (root / name).exists()))


def newest_run(root: Path, in_epoch: bool = False) -> Run:
    """The run below root with the newest checkpoint.

    Args:
        root: A folder of runs.
        in_epoch: Whether checkpoints within an epoch count, which only a training can use.

    Raises:
        InputError: If no run has one.
    """
    pattern = f"*{_WHOLE_EPOCHS}" if in_epoch else _WHOLE_EPOCHS
    checkpoints = list(root.glob(f"*/checkpoints/{pattern}"))
    if not checkpoints:
        raise InputError(f"no run in {root} has a checkpoint; start one with `python train.py`")
    return Run(max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent.parent)


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
    state = _load_gan(checkpoint, device)
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
        gan = _networks(run, _load_gan(checkpoint))
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
    data.load_state_dict(_load_gan(checkpoint)["ImageData"])
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


def load_checkpoint(path: Path, device: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint without running anything that stands in it, and without unpacking more than its own size.

    Args:
        path: The file.
        device: Where to put its tensors.
        mmap: Leave tensors in the file until they are used: for those who want to know what it is.

    Raises:
        InputError: If it is missing or damaged, or nothing that `torch.save` writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            # torch.load does not look at the checksums.
            damaged = None if packed or mmap else archive.testzip()
        if packed:
            raise zipfile.BadZipFile(f"{packed[0]} in it is compressed, which torch.save does not do")
        if damaged:
            raise zipfile.BadZipFile(f"the checksum of {damaged} in it is wrong")
        checkpoint: dict[str, Any] = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        # Its own words advise to load the file in a way that runs what stands in it.
        raise InputError(
            f"{path}: cannot be read as a checkpoint: it is damaged, or holds more than numbers and plain data, which "
            "is not loaded"
        ) from error
    except Exception as error:  # torch raises whatever it stumbles over: OSError, EOFError, ...
        raise InputError(f"{path}: cannot be read as a checkpoint ({type(error).__name__}: {error})") from error
    return checkpoint


def is_within_epoch(state: dict[str, Any]) -> bool:
    """Whether a checkpoint was saved between two batches of an epoch."""
    try:
        n_ended = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        return bool(n_ended <= state["epoch"])
    except (KeyError, TypeError):
        # Only a training needs Lightning's counters, and says itself if they are damaged.
        return False


def _load_gan(path: Path, device: Any = "cpu") -> dict[str, Any]:
    state = load_checkpoint(path, device)
    check_of_gan(state, path)
    return state


def check_of_gan(state: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint that is of no GAN, or of another version.

    Raises:
        InputError: If it is.
    """
    needed = {"state_dict", "batches_seen", "ImageData"}
    if not isinstance(state, dict) or not needed <= set(state):
        raise InputError(f"{path}: a checkpoint, but of no GAN of this program; those of `python train.py` are")
    weights = made_of(dict[str, Any], state["state_dict"], f"{path}: state_dict")
    # What a module keeps beside its weights may be plain data, as augmentation's probability.
    numbers = {name: value for name, value in weights.items() if not name.endswith(_EXTRA_STATE)}
    if strange := [name for name, weight in numbers.items() if not isinstance(weight, torch.Tensor)]:
        raise InputError(f"{path}: {strange[0]} in it is no tensor; it is damaged")
    made_of(int, state["batches_seen"], f"{path}: batches_seen")
    ImagesOfRun.of(state, path)


@dataclass(frozen=True)
class ImagesOfRun:
    """What a checkpoint says of the images that its run was trained on.

    Attributes:
        settings: Their grid.
        scale: Which levels -1 and 1 are.
        image_size: Height and width of a crop.
        class_names: Names of the labels.
    """

    settings: SpectrogramSettings
    scale: ImageScale
    image_size: tuple[int, int]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, state: dict[str, Any], path: Path) -> "ImagesOfRun":
        """Read it from a checkpoint's content.

        Raises:
            InputError: If it says something else, or is of another version.
        """
        data = made_of(dict[str, Any], state["ImageData"], f"{path}: ImageData")
        names = {field.name for field in fields(cls)}
        if missing := ", ".join(sorted(names - set(data))):
            raise InputError(
                f"{path}: does not say the {missing} of its images; it is of another version of this program"
            )
        try:
            images: ImagesOfRun = made_of(cls, {name: data[name] for name in names}, "ImageData")
        except ValueError as error:
            raise InputError(f"{path}: damaged: {error}") from error
        return images
