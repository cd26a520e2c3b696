"""Batches of random crops of the images of a folder."""

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from gan.data.crops import Batch, CropDataset, CropSampler, Fresh, fresh_frames, side_by_side
from gan.data.kind import differing
from gan.data.labels import check_trained, count_classes, find_labels
from gan.data.loader import loader_of
from gan.data.opening import AS_FOUND, Opening
from gan.data.resident import CropPlaces, ResidentCrops, fits
from gan.data.scale import global_scale, per_frequency_scale
from gan.data.split import notes_on_share, split
from gan.data.store import ImageStore
from gan.errors import InputError
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale

# Crops that are read to see whether there is anything in them.
_N_LOOKED_AT = 48
# Frames of a crop for which networks may be larger than any memory.
_N_LONG = 4096
# More are forked for minutes, and no machine feeds them.
_MOST_WORKERS = 128


class ImageData(LightningDataModule):
    """Random crops of the spectrogram images of a folder, split into training and validation by recording.

    Args:
        images: Folder of images of `gan encode` or of figures drawn with matplotlib, sub-folders included.
        n_frames: Width of a crop in frames.
        batch_size: Crops in a batch, per process.
        range_db: What the GAN sees: this many dB below top_db. The image files keep more.
        top_db: Level of white in dB; if not given, the loudest cell of all images or, with equal_levels, their median.
        normalization: "global": -1 and 1 are the range's ends for all frequencies alike; "per_frequency": each
            frequency's mean less and plus 3 of its standard deviations over the training images (SpecGAN).
        equal_levels: Lift each image until its loudest cell is white: for recordings of very different levels, most of
            which would else be dark and partly lost.
        labels: Where labels come from: "folder" for the first sub-folder, or a regular expression with one group
            that is searched for in each image's path below the folder; no labels if not given.
        conditional: Whether the networks are told the labels.
        validation_fraction: Share of the recordings that is not trained on: drawn at random, but never the last one of
            a class.
        validation: Recordings that are not trained on, instead of a random share: those whose name this regular
            expression is found in.
        resident: Whether all frames lie in the memory of the device that is trained on, where crops are cut without
            the processor; if not given, on an accelerator with enough memory.
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
        normalization: Literal["global", "per_frequency"] = "global",
        equal_levels: bool = False,
        labels: str | None = None,
        conditional: bool = False,
        validation_fraction: float = 0.05,
        validation: str | None = None,
        resident: bool | None = None,
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
        if not 0 <= num_workers <= _MOST_WORKERS:
            raise InputError(f"data.num_workers is {num_workers}; it must lie in [0, {_MOST_WORKERS}], 0 is usual")
        if conditional and labels is None:
            raise InputError("data.conditional is true, but there are no labels; say where they are with data.labels")
        self.images = images
        self.n_frames = n_frames
        self.batch_size = batch_size
        self.range_db = range_db
        self.top_db = top_db
        self.normalization = normalization
        self.equal_levels = equal_levels
        self.labels = labels
        self.conditional = conditional
        self.validation_fraction = validation_fraction
        self.validation = validation
        self.resident = resident
        self.num_workers = num_workers
        self.store_folder = images / ".store" if store is None else store
        self.figures = figures
        self.seed = seed
        self._restored_scale: ImageScale | None = None
        self._on_device: ResidentCrops | None = None

    @cached_property
    def settings(self) -> SpectrogramSettings:
        """Settings of the images: known before the store is built."""
        return self._opening.settings() if self._existing is None else self._existing.settings

    @cached_property
    def _opening(self) -> Opening:
        return Opening(self.images, self.store_folder, self.figures)

    @cached_property
    def _existing(self) -> ImageStore | None:
        # Kept, since to read a long index takes half a second.
        return self._opening.existing()

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a crop, (n_freqs, n_frames), what the networks are built for.

        Known before the store is built, but for very long crops: whether any image is so long is to be known first.

        Raises:
            InputError: If no image is as long as a crop, as far as that is known.
        """
        if self._existing is not None or self.n_frames > _N_LONG:
            self._refuse_long_crops()
        return self.settings.n_freqs - 1, self.n_frames

    @property
    def scale(self) -> ImageScale:
        """Which levels are -1 and 1: of the run that is resumed, else as asked, else from the images; after `setup`."""
        return self._own_scale if self._restored_scale is None else self._restored_scale

    @cached_property
    def _own_scale(self) -> ImageScale:
        if self.normalization == "global":
            return self._global_scale
        return per_frequency_scale(self.crops(self._global_scale), self._fresh(self.train_images))

    @cached_property
    def _global_scale(self) -> ImageScale:
        levels_db = self.store.images.level_db
        return global_scale(levels_db, self.range_db, self.top_db, self.equal_levels, self.images)

    @cached_property
    def store(self) -> ImageStore:
        """The decoded frames, built when first asked for."""
        store = self._existing or self._opening.store()
        # What it knows of each file would be a hundred MB for as long as the training takes.
        del self._opening
        return store

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the labels, sorted; a label is an index into them."""
        return sorted(set(self._names))

    @property
    def n_classes(self) -> int:
        """Number of classes that the networks are told apart; 0 if they are not told. Builds the store in that case.

        Raises:
            InputError: If there is one class only.
        """
        return count_classes(self._names, self.labels) if self.conditional and self.labels is not None else 0

    @cached_property
    def _names(self) -> list[str]:
        return [] if self.labels is None else find_labels(self.store.images.file, self.labels, self.images)

    def setup(self, stage: str | None = None) -> None:
        """Build or refresh the store, split the images and check that they fit.

        Raises:
            InputError: If no image is as long as a crop, an epoch has no whole batch, the image that `settings` are
                from is not like most of them, all images are one grey, the networks are to be told labels that do not
                allow it, or the processes of a training have not the same images.
        """
        if stage == "fit":
            self._refuse_different_stores()
        if names := differing(self.settings, self.store.settings):
            first, most = self.settings.to_dict(), self.store.settings.to_dict()
            raise InputError(
                f"{self.images}: the networks were made for the first image that was looked at, which has "
                f"{', '.join(f'{name} {first[name]}' for name in names)}, but most have "
                f"{', '.join(f'{name} {most[name]}' for name in names)}; this is known now, so run the same again"
            )
        self._refuse_long_crops()
        self.train_images, self.validation_images = split(
            self.store.images.recording, self._names, self.validation, self.validation_fraction, self.seed
        )
        if self.n_classes:
            check_trained(self._names, self.train_images)
        sampler = self._sampler()
        if len(sampler) == 0:
            raise InputError(
                f"data.batch_size is {self.batch_size}, more than the {sampler.n_crops} crops of an epoch; lower it to "
                f"{max(1, sampler.n_crops // sampler.n_ranks)} or add recordings"
            )
        self._check_that_it_varies()

    def _refuse_different_stores(self) -> None:
        # Each process opens the store itself, and files may come in between; its crops are by their number in it.
        if self.trainer is None or self.trainer.world_size == 1:
            return
        fingerprints = [""] * self.trainer.world_size
        torch.distributed.all_gather_object(fingerprints, self.store.fingerprint)
        if len(set(fingerprints)) > 1:
            raise InputError(
                f"{self.images}: the processes of this training found different images, as some were added, changed or "
                "removed while it began; run the same again"
            )

    def _refuse_long_crops(self) -> None:
        if self._widest < self.n_frames:
            raise InputError(
                f"data.n_frames is {self.n_frames}, longer than every image of {self.images}: the longest has "
                f"{self._widest}; set data.n_frames to at most {self._widest}"
            )

    @cached_property
    def _widest(self) -> int:
        return max(self.store.images.n_frames)

    def _check_that_it_varies(self) -> None:
        crops = side_by_side(self._fresh(self.train_images), self.n_frames, _N_LOOKED_AT)
        images = self.crops(self._global_scale).__getitems__(crops).images
        if images.min() == images.max():
            raise InputError(
                f"{self.images}: all cells of {len(crops)} crops that were looked at are equal, so there is nothing to "
                "learn; look at the images, and at data.top_db and data.range_db if you set them"
            )

    @property
    def notes(self) -> list[str]:
        """What a user may not expect of the split, for the start of a training."""
        if self.validation is not None:
            return []
        n_frames = self.store.images.n_frames
        return notes_on_share(n_frames, self.train_images, self.validation_images, self.validation_fraction)

    def _fresh(self, images: list[int]) -> Fresh:
        return fresh_frames(self.store, images, self.n_frames)

    def crops(self, scale: ImageScale | None = None) -> CropDataset:
        """All crops of the store, addressed by `Crop`, on the scale of the run if no other is given."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        labels = torch.tensor([numbers[name] for name in self._names]) if self.labels else None
        return CropDataset(self.store, scale or self.scale, self.n_frames, self.equal_levels, labels)

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
        crops = side_by_side(self._fresh(self.validation_images), self.n_frames)
        if not crops:
            return []
        return self._loader([crops[i : i + self.batch_size] for i in range(0, len(crops), self.batch_size)])

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Cut crops on the device, if the frames are there."""
        return batch if self._on_device is None else self._on_device.batch(batch)

    def _loader(self, batches: Any) -> DataLoader[Any]:
        crops = self.crops()
        if self._on_device is None and self.trainer is not None:
            device = self.trainer.strategy.root_device
            if fits(crops, device) if self.resident is None else self.resident:
                self._on_device = ResidentCrops(crops, device)
        if self._on_device is not None:
            return loader_of(CropPlaces(), batches, 0, self.seed)
        return loader_of(crops, batches, self.num_workers, self.seed)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to know to turn images into sound, in plain numbers."""
        return {**self._state_but_scale(), "scale": dataclasses.asdict(self.scale)}

    def _state_but_scale(self) -> dict[str, Any]:
        return {
            "settings": self.settings.to_dict(),
            "image_size": list(self.image_size),
            "class_names": self.class_names,
            "fingerprint": self.store.fingerprint,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a run's scale, and refuse images that its networks were not made for.

        Raises:
            InputError: If settings, size or labels differ.
        """
        # Without the scale: it would be worked out from the images, only to be replaced.
        now = self._state_but_scale()
        for name in ("settings", "image_size", "class_names"):
            if now[name] != state_dict[name]:
                raise InputError(
                    f"the run was trained on images with {name} {state_dict[name]}, but {self.images} has {now[name]}; "
                    "resume with the images and options that it was started with"
                )
        if now["fingerprint"] != state_dict.get("fingerprint") and self._restored_scale is None:
            print(f"note: the images in {self.images} have changed since this run was saved; it goes on with them")
        self._restored_scale = ImageScale(**state_dict["scale"])
