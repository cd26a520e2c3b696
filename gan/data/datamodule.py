"""Batches of random crops of the images of a folder."""

import math
import re
import statistics
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from gan.data.build import AS_FOUND, find_settings, open_store
from gan.data.crops import Batch, Crop, CropDataset, CropSampler, fresh_frames
from gan.data.kind import differing
from gan.data.store import ImageStore
from gan.errors import InputError
from gan.seed import derive_seed
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale


class ImageData(LightningDataModule):
    """Random crops of the spectrogram images of a folder, split into training and validation by recording.

    Args:
        images: Folder of images of `gan encode` or of figures drawn with matplotlib, sub-folders included.
        n_frames: Width of a crop in frames.
        batch_size: Crops in a batch, per process.
        range_db: What the GAN sees: this many dB below top_db. The image files keep more.
        top_db: Level of white in dB; if not given, the loudest cell of all images or, with equal_levels, their median.
        equal_levels: Lift each image until its loudest cell is white: for recordings of very different levels, most of
            which would else be dark and partly lost.
        labels: Where labels come from: "folder" for the first sub-folder, or a regular expression with one group
            that is searched for in each image's path below the folder; no labels if not given.
        validation_fraction: Share of the recordings that is not trained on.
        num_workers: Processes that prepare batches; 0 to do it in the training process, which is seldom slower.
        store: Folder for the decoded frames; `.store` in the folder of images if not given.
        figures: How to read figures.
        seed: Seed of the split and of the crops.

    Raises:
        InputError: If there are no images or a number makes no sense.
    """

    def __init__(
        self,
        images: Path,
        n_frames: int = 128,
        batch_size: int = 64,
        range_db: float = 80.0,
        top_db: float | None = None,
        equal_levels: bool = False,
        labels: str | None = None,
        validation_fraction: float = 0.05,
        num_workers: int = 0,
        store: Path | None = None,
        figures: FigureOptions = AS_FOUND,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("n_frames", n_frames), ("batch_size", batch_size)):
            if value < 1:
                raise InputError(f"data.{name} is {value}; it must be 1 or more")
        if not 0 <= validation_fraction < 1:
            raise InputError(f"data.validation_fraction is {validation_fraction}; it must lie in [0, 1)")
        self.images = images
        self.n_frames = n_frames
        self.batch_size = batch_size
        self.range_db = range_db
        self.top_db = top_db
        self.equal_levels = equal_levels
        self.labels = labels
        self.validation_fraction = validation_fraction
        self.num_workers = num_workers
        self.store_folder = images / ".store" if store is None else store
        self.figures = figures
        self.seed = seed
        self._restored_scale: ImageScale | None = None

    @cached_property
    def settings(self) -> SpectrogramSettings:
        """Settings of the images: known before the store is built."""
        return find_settings(self.images, self.store_folder, self.figures)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a crop, (n_freqs, n_frames), what the networks are built for."""
        return self.settings.n_freqs - 1, self.n_frames

    @property
    def scale(self) -> ImageScale:
        """Which levels are -1 and 1: of the run that is resumed, else as asked, else from the loudest image."""
        return self._own_scale if self._restored_scale is None else self._restored_scale

    @cached_property
    def _own_scale(self) -> ImageScale:
        levels = [image.level_db for image in self.store.images if image.level_db is not None]
        if not levels:
            raise InputError(f"{self.images}: all images are silent")
        if self.top_db is not None:
            return ImageScale(self.top_db, self.range_db)
        return ImageScale(statistics.median(levels) if self.equal_levels else max(levels), self.range_db)

    @cached_property
    def store(self) -> ImageStore:
        """The decoded frames, built when first asked for."""
        return open_store(self.images, self.store_folder, options=self.figures)

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the labels, sorted; a label is an index into them."""
        return sorted(set(self._names))

    @cached_property
    def _names(self) -> list[str]:
        if self.labels is None:
            return []
        pattern = "([^/]+)/" if self.labels == "folder" else self.labels
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise InputError(f"data.labels is {pattern!r}, which is no regular expression ({error})") from error
        if compiled.groups != 1:
            raise InputError(f"data.labels is {pattern!r}; it must have one group, e.g. '([0-9])_', or be 'folder'")
        names = []
        for image in self.store.images:
            found = compiled.match(image.file) if self.labels == "folder" else compiled.search(image.file)
            if found is None:
                raise InputError(f"{self.images / image.file}: no label in its path ({self.labels}); move or rename it")
            names.append(found.group(1))
        return names

    def setup(self, stage: str | None = None) -> None:
        """Build or refresh the store, split the images and check that they fit.

        Raises:
            InputError: If no image is as long as a crop, an epoch has no whole batch, or the image that `settings`
                are from is not like most of them.
        """
        if names := differing(self.settings, self.store.settings):
            first, most = self.settings.to_dict(), self.store.settings.to_dict()
            raise InputError(
                f"{self.images}: the networks were made for the first image that was looked at, which has "
                f"{', '.join(f'{name} {first[name]}' for name in names)}, but most have "
                f"{', '.join(f'{name} {most[name]}' for name in names)}; this is known now, so run the same again"
            )
        widest = max(image.n_frames for image in self.store.images)
        if widest < self.n_frames:
            raise InputError(
                f"data.n_frames is {self.n_frames}, longer than every image of {self.images}: the longest has "
                f"{widest}; set data.n_frames to at most {widest}"
            )
        self.train_images, self.validation_images = self._split()
        sampler = self._sampler()
        if len(sampler) == 0:
            raise InputError(
                f"data.batch_size is {self.batch_size}, more than the {sampler.n_crops} crops of an epoch; lower it to "
                f"{max(1, sampler.n_crops // sampler.n_ranks)} or add recordings"
            )

    def _split(self) -> tuple[list[int], list[int]]:
        # By recording, never by image: windows of one recording overlap. Each recording's place in the order depends
        # on its own name only, so new ones do not move old ones across the split.
        recordings = sorted({im.recording for im in self.store.images}, key=lambda name: derive_seed(self.seed, name))
        n_validation = math.ceil(self.validation_fraction * len(recordings)) if len(recordings) > 1 else 0
        held_out = set(recordings[:n_validation])
        train: list[int] = []
        validation: list[int] = []
        for index, image in enumerate(self.store.images):
            (validation if image.recording in held_out else train).append(index)
        return train, validation

    def crops(self) -> CropDataset:
        """All crops of the store, addressed by `Crop`."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        labels = torch.tensor([numbers[name] for name in self._names]) if self.labels else None
        return CropDataset(self.store, self.scale, self.n_frames, self.equal_levels, labels)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Random crops of the training images."""
        return self._loader(self._sampler())

    def _sampler(self) -> CropSampler:
        trainer = self.trainer
        return CropSampler(
            self.store,
            self.train_images,
            self.n_frames,
            self.batch_size,
            self.seed,
            batches_seen=lambda: 0 if trainer is None else cast(int, trainer.lightning_module.batches_seen),
            rank=0 if trainer is None else trainer.global_rank,
            n_ranks=1 if trainer is None else trainer.world_size,
        )

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The validation images, their fresh frames cut into crops side by side; an empty list if there are none."""
        fresh = fresh_frames(self.store, self.validation_images, self.n_frames)
        crops = [
            Crop(image, first + start)
            for image, first, width in zip(*(column.tolist() for column in fresh), strict=True)
            for start in range(0, max(1, width - self.n_frames + 1), self.n_frames)
        ]
        if not crops:
            return []
        return self._loader([crops[i : i + self.batch_size] for i in range(0, len(crops), self.batch_size)])

    def _loader(self, batches: Any) -> DataLoader[Batch]:
        return DataLoader(
            self.crops(),
            batch_sampler=batches,
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: making an iterator must not draw from the global one.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to know to turn images into sound, in plain numbers."""
        return {
            "settings": self.settings.to_dict(),
            "scale": {"top_db": self.scale.top_db, "range_db": self.scale.range_db},
            "image_size": list(self.image_size),
            "class_names": self.class_names,
            "fingerprint": self.store.fingerprint,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a run's scale, and refuse images that its networks were not made for.

        Raises:
            InputError: If settings, size or labels differ.
        """
        now = self.state_dict()
        for name in ("settings", "image_size", "class_names"):
            if now[name] != state_dict[name]:
                raise InputError(
                    f"the run was trained on images with {name} {state_dict[name]}, but {self.images} has {now[name]}; "
                    "resume with the images and options that it was started with"
                )
        if now["fingerprint"] != state_dict["fingerprint"] and self._restored_scale is None:
            print(f"note: the images in {self.images} have changed since this run was saved; it goes on with them")
        self._restored_scale = ImageScale(**state_dict["scale"])


def _as_it_is(batch: Any) -> Any:
    return batch
