"""A small classifier of labels, by which generated images are judged."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from gan.data.crops import CropDataset, fresh_frames, side_by_side
from gan.data.datamodule import ImageData
from gan.data.store import content_hash
from gan.errors import InputError
from gan.evaluate.features import Embedding
from gan.files import atomic_write
from gan.progress import each
from gan.seed import derive_seed
from gan.sound.mel import band_averages
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale, db_from_image

# Goes up when anything below changes what is learnt, so that classifiers of before are not taken for new ones.
_RECIPE = 1
_METADATA = "classifier"
# Levels that are looked at. Less than the range of a run, so that a classifier sees the same in all runs.
_RANGE_DB = 60.0
_N_BANDS = 40
# Wider images are averaged to so many stretches of time.
_N_TIMES = 64
_CHANNELS = (16, 32, 64, 128)
_N_FEATURES = 64
_BATCH_SIZE = 32
_N_STEPS = 1500
_LEARNING_RATE = 3e-3
# Crops that are read, of those to train on and of those held out.
_MAX_CROPS = 8192
_N_READ = 64
# How far levels are changed in training, how far the floor is raised at most (in half of the crops, or a faint hiss
# would make another word of a word), and which part of the times and of the bands is moved or masked at most.
_GAIN_DB = 6.0
_FLOOR_DB = 24.0
_PART = 0.125


class Classifier(nn.Module):
    """A convolutional network on the levels of mel bands that tells the labels of images apart.

    It looks at the sound that an image says and not at the image, so that it is the same for all runs, however they
    turn levels into images: at 40 mel bands (of mean power), at most 64 times, 60 dB below the reference.

    Args:
        settings: The grid.
        scale: Which levels the images' -1 and 1 are.
        reference_db: Level of the loudest cell of the real images.
        class_names: Names of the labels; a label is an index into them.

    Attributes:
        accuracy: Share of held-out crops whose label was found, in [0, 1]; None if none are held out.
        n_validation: Number of these crops.
    """

    def __init__(
        self, settings: SpectrogramSettings, scale: ImageScale, reference_db: float, class_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.scale = scale
        self.reference_db = reference_db
        self.class_names = list(class_names)
        self.accuracy: float | None = None
        self.n_validation = 0
        bands = band_averages(_N_BANDS, settings)
        self.register_buffer("bands", bands, persistent=False)
        blocks: list[nn.Module] = []
        for n_in, n_out in zip((1, *_CHANNELS), _CHANNELS, strict=False):
            blocks += [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
            # Rounded up, so that whatever is narrow stays at 1.
            blocks += [nn.MaxPool2d(2, ceil_mode=True)]
        self.convolutions = nn.Sequential(*blocks)
        n_left = math.ceil(len(bands) / 2 ** len(_CHANNELS))
        # Times are averaged, as when something sounds says little; frequencies are not.
        self.project = nn.Sequential(nn.Linear(_CHANNELS[-1] * n_left, _N_FEATURES), nn.ReLU())
        self.decide = nn.Sequential(nn.Dropout(0.3), nn.Linear(_N_FEATURES, len(self.class_names)))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].

        Returns:
            Shape (batch, n_classes).
        """
        logits: Tensor = self.decide(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """What the logits are a linear function of.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].

        Returns:
            Shape (batch, 64), >= 0.
        """
        return self._features(self.levels(images))

    @torch.no_grad()
    def levels(self, images: Tensor) -> Tensor:
        """What the network sees.

        Args:
            images: Shape (batch, 1, n_freqs, n_frames), in [-1, 1].

        Returns:
            Shape (batch, 1, n_bands, min(n_frames, 64)): -1 for 60 dB below the reference or less, 1 for the reference.
        """
        level_db = db_from_image(images[:, 0].float(), self.scale)[:, :-1] - self.reference_db
        power = torch.exp(level_db.clamp_(-_RANGE_DB, 0.0) * (0.1 * math.log(10.0)))
        if power.shape[-1] > _N_TIMES:
            power = adaptive_avg_pool1d(power, _N_TIMES)
        band_db = 10.0 * torch.log10(self.get_buffer("bands") @ power)
        return (band_db * (2.0 / _RANGE_DB) + 1.0).clamp_(-1.0, 1.0).unsqueeze(1)

    def logits_from_levels(self, levels: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of what `levels` gave."""
        logits: Tensor = self.decide(self._features(levels))
        return logits

    def _features(self, levels: Tensor) -> Tensor:
        maps = self.convolutions(levels.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.project(maps.mean(3).flatten(1))
        return features


class ClassifierFeatures(Embedding):
    """The features of a trained classifier as an embedding, to measure distances on.

    Args:
        classifier: The classifier, in eval mode.
    """

    name = "classifier"
    n_features = _N_FEATURES

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of images, as `Embedding` says."""
        return self._classifier.features(images)


def open_classifier(data: ImageData) -> Classifier:
    """The classifier of the labels of some images: read if it has been trained before, else trained and kept.

    It lies beside the store, and another one is trained when the images, the labels, the split or the width of crops
    change. How levels become images does not matter to it.

    Args:
        data: The images, after `setup`.

    Returns:
        The classifier, in eval mode, on the CPU, for images on the data's scale.

    Raises:
        InputError: If there are no labels, or one class only.
    """
    digest = _digest(data)
    path = data.store_folder / f"classifier-{digest[:16]}.safetensors"
    classifier = _read(path, data, digest)
    if classifier is None:
        classifier = train_classifier(data, seed=0)
        made = {
            "digest": digest,
            "class_names": classifier.class_names,
            "accuracy": classifier.accuracy,
            "n_validation": classifier.n_validation,
        }
        # Under one key: safetensors writes several in any order.
        metadata = {_METADATA: json.dumps(made)}
        content = save({name: value.contiguous() for name, value in classifier.state_dict().items()}, metadata)
        with atomic_write(path) as part:
            part.write_bytes(content)
    return classifier


def train_classifier(data: ImageData, seed: int) -> Classifier:
    """Train a classifier on the training images, in a minute or two; global random numbers are left as they are.

    Args:
        data: The images, after `setup`.
        seed: What it is and how good depends on this seed and on the images alone.

    Returns:
        The classifier, in eval mode, for images on the data's scale, measured on the images that are held out.

    Raises:
        InputError: If there are no labels, or one class only.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "classifier"))
        classifier = _untrained(data)
        scale, classifier.scale = classifier.scale, ImageScale(classifier.reference_db)
        dataset = data.crops(classifier.scale)
        levels, labels = _read_levels(classifier, dataset, data.train_images, data.n_frames)
        optimizer = AdamW(classifier.parameters(), weight_decay=0.05)
        schedule = OneCycleLR(optimizer, _LEARNING_RATE, total_steps=_N_STEPS)
        classifier.train()
        for _ in each(range(_N_STEPS), "classifier", "step"):
            chosen = torch.randint(len(levels), (_BATCH_SIZE,))
            loss = cross_entropy(classifier.logits_from_levels(_changed(levels[chosen])), labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        classifier.eval()
        levels, labels = _read_levels(classifier, dataset, data.validation_images, data.n_frames)
        classifier.n_validation = len(labels)
        if len(labels):
            classifier.accuracy = _accuracy(classifier, levels, labels)
        classifier.scale = scale
    return classifier


def _untrained(data: ImageData) -> Classifier:
    if data.labels is None or len(data.class_names) < 2:
        raise InputError(
            f"{data.images}: a classifier needs labels of two classes or more, but data.labels is {data.labels!r}; "
            "say with it what tells them apart"
        )
    loudest = max(level for level in data.store.images.level_db if level is not None)
    reference_db = data.scale.top_db if data.equal_levels else loudest
    return Classifier(data.settings, data.scale, reference_db, data.class_names)


def _digest(data: ImageData) -> str:
    split = data.train_images, data.validation_images
    return content_hash([_RECIPE, data.store.fingerprint, data.labels, split, data.n_frames, data.equal_levels])


def _read(path: Path, data: ImageData, digest: str) -> Classifier | None:
    """The classifier in a file; None if it is missing, damaged or another one."""
    classifier = _untrained(data)
    try:
        with safe_open(path, framework="pt") as file:
            made = json.loads((file.metadata() or {})[_METADATA])
            if made["digest"] != digest:
                return None
            classifier.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        classifier.accuracy, classifier.n_validation = made["accuracy"], made["n_validation"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        return None
    return classifier.eval()


def _read_levels(
    classifier: Classifier, dataset: CropDataset, images: list[int], n_frames: int
) -> tuple[Tensor, Tensor]:
    """What the network sees of some images, shape (n, 1, n_bands, n_times), and their labels, shape (n,)."""
    crops = side_by_side(fresh_frames(dataset.store, images, n_frames), n_frames, _MAX_CROPS)
    levels, labels = [torch.empty(0)], [torch.empty(0, dtype=torch.int64)]
    for start in range(0, len(crops), _N_READ):
        batch = dataset.__getitems__(crops[start : start + _N_READ])
        assert batch.labels is not None
        levels.append(classifier.levels(batch.images))
        labels.append(batch.labels)
    return torch.cat(levels), torch.cat(labels)


def _changed(levels: Tensor) -> Tensor:
    """Levels that are heard as the same label.

    Moved in time, made louder or softer, a stretch of time and one of bands masked, and what is quiet drowned.
    """
    n_batch, _, n_bands, n_times = levels.shape
    times, bands = torch.arange(n_times), torch.arange(n_bands)
    moved = (times + _random_part(n_batch, n_times, signed=True)) % n_times
    levels = levels.gather(3, moved[:, None, None, :].expand_as(levels))
    gain = (2 * torch.rand(n_batch, 1, 1, 1) - 1) * _GAIN_DB * 2 / _RANGE_DB
    floor = (2 * torch.rand(n_batch, 1, 1, 1) - 1).relu() * _FLOOR_DB * 2 / _RANGE_DB - 1
    silent = levels <= -1
    for axis, places in ((2, times), (3, bands)):
        n_places = len(places)
        width = _random_part(n_batch, n_places)
        first = (torch.rand(n_batch, 1) * (n_places - width + 1)).long()
        masked = (places >= first) & (places < first + width)
        silent = silent | masked[:, None].unsqueeze(axis)
    return torch.where(silent, -1.0, levels + gain).maximum(floor).clamp_max_(1.0)


def _random_part(n_batch: int, n_places: int, signed: bool = False) -> Tensor:
    """Up to an eighth of some places, shape (n_batch, 1), int64."""
    part = round(_PART * n_places)
    return torch.randint(-part if signed else 0, part + 1, (n_batch, 1))


@torch.no_grad()
def _accuracy(classifier: Classifier, levels: Tensor, labels: Tensor) -> float:
    found = torch.cat([classifier.logits_from_levels(part).argmax(1) for part in torch.split(levels, _N_READ)])
    return float((found == labels).float().mean())
