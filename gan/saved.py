"""What stands in a checkpoint: weights, counters, and what it says of the images that its run was trained on."""

import pickle
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from gan.errors import InputError
from gan.plain import made_of, shown
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale

# The end of torch's names for what `get_extra_state` gives.
_EXTRA_STATE = "_extra_state"
# Height and width of a crop, and letters of all names of classes together.
_MOST_SIZE, _MOST_LETTERS = 1 << 20, 1 << 20


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


def load_of_gan(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of `python train.py`.

    Args:
        path: The file.
        device: Where to put its tensors.

    Raises:
        InputError: As of `load_checkpoint` and `check_of_gan`.
    """
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


def is_within_epoch(state: dict[str, Any]) -> bool:
    """Whether a checkpoint was saved between two batches of an epoch."""
    try:
        n_ended = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        return bool(n_ended <= state["epoch"])
    except (KeyError, TypeError):
        # Only a training needs Lightning's counters, and says itself if they are damaged.
        return False


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

    def __post_init__(self) -> None:
        if not all(1 <= size <= _MOST_SIZE for size in self.image_size):
            raise ValueError(f"image_size is {' x '.join(map(shown, self.image_size))}")
        if sum(map(len, self.class_names)) > _MOST_LETTERS:
            raise ValueError(f"the names of its {len(self.class_names)} classes are too long")

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
