"""Where the sounds of a listening test come from: runs, and what they were trained on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from gan.data.crops import fresh_frames, side_by_side
from gan.errors import InputError
from gan.listen.render import latents_of, lengths, magnitude_of
from gan.seed import derive_seed
from gan.trained import Trained

if TYPE_CHECKING:
    from gan.data.datamodule import ImageData


class Drawn(NamedTuple):
    """A sound, not yet played.

    Attributes:
        source: Where it comes from, for people.
        magnitude: Shape (n_freqs, n_frames).
    """

    source: str
    magnitude: Tensor


class System(Protocol):
    """Where sounds come from."""

    @property
    def about(self) -> str:
        """Where, for people."""

    @property
    def trained(self) -> Trained:
        """What knows the grid of its images."""

    def draw(self, label: int | None) -> Drawn:
        """Another sound, of a class if one is asked for."""


class Generated:
    """New sounds of a run, those of `gan sample RUN --seed`.

    Args:
        trained: The run.
        seeds: Where seeds are taken from: no two sounds of a test have the same, or those of two checkpoints of one run
            would be alike.
    """

    def __init__(self, trained: Trained, seeds: Iterator[int]) -> None:
        self.trained = trained
        self.about = trained.about
        self._seeds = seeds
        _, self._length = lengths(trained, None)

    def draw(self, label: int | None) -> Drawn:
        """A sound of the next seed."""
        trained, seed = self.trained, next(self._seeds)
        if trained.class_names and label is None:
            label = seed % len(trained.class_names)
        labels = None if label is None else torch.tensor([label])
        named = "" if label is None else f", label {trained.class_names[label]}"
        blocks = trained.gan.sample_blocks(latents_of(seed, self._length), labels)
        return Drawn(f"seed {seed}{named}", magnitude_of(trained, blocks))


class Recorded:
    """Crops of the images that a run was trained on, none twice.

    Args:
        trained: The run.
        data: Its images, after `setup`.
        seed: Which crops they are.
    """

    def __init__(self, trained: Trained, data: "ImageData", seed: int) -> None:
        self.trained = trained
        self.about = f"crops of {data.images}, through picture and phase"
        self._data = data
        self._dataset = data.crops()
        fresh = fresh_frames(data.store, data.train_images + data.validation_images, data.n_frames)
        crops = side_by_side(fresh, data.n_frames)
        order = np.random.default_rng(derive_seed(seed, "blind", "crops")).permutation(len(crops))
        self._crops = [crops[place] for place in order]
        self._n_crops = len(self._crops)

    def draw(self, label: int | None) -> Drawn:
        """The next crop.

        Raises:
            InputError: If there are no more.
        """
        labels = self._dataset.labels
        for place, crop in enumerate(self._crops):
            if label is None or labels is None or int(labels[crop.image]) == label:
                del self._crops[place]
                break
        else:
            what = "" if label is None else f" of {self.trained.class_names[label]}"
            raise InputError(
                f"{self._data.images}: {self._n_crops} different crops are too few, there are no more{what}; lower "
                "--trials or leave out --real"
            )
        image, settings = self._data.store.images[crop.image], self._data.settings
        second = image.start_second + crop.start * settings.hop_length / settings.sample_rate
        images = self._dataset.__getitems__([crop]).images
        return Drawn(f"{image.recording} from {second:.2f} s", magnitude_of(self.trained, [images]))
