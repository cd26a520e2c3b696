"""Images against the training images of a data module, in numbers whose names say how they were measured."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gan.data.crops import Batch, Crop, drawn_crops, fresh_frames
from gan.data.datamodule import ImageData
from gan.errors import InputError
from gan.evaluate.classifier import Classifier, ClassifierFeatures
from gan.evaluate.features import Embedding, MelStatistics
from gan.evaluate.metrics import (
    density_coverage,
    frechet_distance,
    inception_score,
    kernel_distance,
    n_different_bins,
    precision_recall,
)
from gan.evaluate.neighbours import Neighbours, copy_rate
from gan.model.gan import GAN
from gan.progress import each
from gan.seed import derive_seed
from gan.sound.inversion import image_from_waveform, waveform_from_image

Row = dict[str, float]

_BATCH = 64
# Held-out crops below which nothing can be compared with them.
_LEAST = 20
# Their pictures are in memory all at once.
_MOST = 100_000
# Bins that a block is sorted into, if it has ten for each, and images whose neighbours are searched.
_MOST_BINS, N_NEIGHBOURS = 50, 200
_KERNEL_SUBSET = 200
HELD_OUT = "held-out recordings"
# What ends the name of a number that says how far another one spreads.
_DEVIATION = "_deviation"


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest training crops of some images.

    Attributes:
        distances: Shape (n,).
        crops: Where each is in the store.
        copy_rate: Share that is nearer than 95 % of the held-out crops are, 0.05 if nothing was learnt by heart; None
            without enough held-out crops to compare with.
    """

    distances: Tensor
    crops: list[Crop]
    copy_rate: float | None


class Group(NamedTuple):
    """Images that a row of numbers is about.

    Attributes:
        name: Name of the row.
        images: Shape (n, 1, n_freqs, n_frames), in [-1, 1].
        labels: Shape (n,), what each should be of; None if that is not known.
    """

    name: str
    images: Tensor
    labels: Tensor | None = None


def check_n_images(n_images: int, name: str = "n_images", usual: int = 1000) -> None:
    """Refuse numbers of images that say nothing, or that no memory holds.

    Args:
        n_images: How many.
        name: Of the option.
        usual: What to give instead.

    Raises:
        InputError: If it is refused.
    """
    if not _LEAST <= n_images <= _MOST:
        raise InputError(f"{name} is {n_images}; it must lie in [{_LEAST}, {_MOST}], {usual} is usual")


class Evaluation:
    """Measures images against training crops drawn as the training draws them.

    Every row of numbers is measured in the same way, so that rows can be compared whatever number of images they have:
    against the same `n_images` training crops, in blocks of as many images as crops were held out, whose results are
    averaged. The names of the numbers say the embedding and, as `n`, the size of a block:

    - `frechet_mel_n300`, `kernel_mel_n300`: distances in `MelStatistics`, lower is better; `frechet_classifier_n300` in
      the features of a classifier, where there are labels,
    - `density_mel_k5_n300`, `coverage_mel_k5_n300`: how many images lie where real ones do (1 is as real ones among
      themselves), and how many real ones have one near,
    - `precision_mel_k3_n300`, `recall_mel_k3_n300`: how many images lie among real ones, and how many real ones among
      images, of as many of both,
    - `different_bins_mel_k30_n300`: share of k clusters of real crops that have too many images or too few,
    - `inception_score_n150`, `accuracy`: by the classifier; the first of parts of half a block, the second is the share
      of images that are of the class that they should be of,
    - `copy_rate_mel_texture_0`, `neighbour_mel_texture_0`: see `Neighbourhood`, and the median distance in dB to the
      nearest training crop, by levels alone.

    Args:
        data: The images, after `setup`.
        n_images: Most training crops, held-out crops and images of a row.
        classifier: What knows the labels; None without.
        seed: What is drawn and where clusters start depends on it.

    Attributes:
        n_block: Images of a block.
        n_images: As given.

    Raises:
        InputError: If there are too few training crops to compare with, or n_images asks for too few or too many.
    """

    def __init__(
        self, data: ImageData, n_images: int = 1000, classifier: Classifier | None = None, seed: int = 0
    ) -> None:
        check_n_images(n_images)
        self.data = data
        self.n_images = n_images
        self.classifier = classifier
        self.seed = seed
        self.mel = MelStatistics(data.settings, data.scale, data.n_frames)
        self._embeddings: list[Embedding] = [self.mel]
        if classifier is not None:
            self._embeddings.append(ClassifierFeatures(classifier))
        self._dataset = data.crops()
        train = self._draw("train", data.train_images)
        self._real = {embedding.name: self._features(embedding, self._images(train)) for embedding in self._embeddings}
        self._n_different = len(torch.unique(self._real[self.mel.name], dim=0))
        if self._n_different < _LEAST:
            raise InputError(
                f"{data.images}: {self._n_different} different training crops are too few to compare anything with; "
                f"{_LEAST} are needed"
            )
        self._held_out = self._draw("held out", data.validation_images)
        self.n_block = len(self._held_out) if len(self._held_out) >= _LEAST else min(n_images, len(train))
        # By levels alone: a copy that is a little blurred or noisy has another texture.
        levels = MelStatistics(data.settings, data.scale, data.n_frames, texture=0.0)
        self._neighbours = Neighbours(levels, self._dataset, data.train_images)
        self._held_out_distances: Tensor | None = None

    @property
    def criterion(self) -> str:
        """Name of the number that tells the best model: the Frechet distance, which every set has."""
        return f"frechet_{self.mel.name}_n{self.n_block}"

    def measure(self, images: Tensor, labels: Tensor | None = None) -> Row:
        """The numbers of some images, in random order.

        Args:
            images: Shape (n, 1, n_freqs, n_frames), in [-1, 1], n at least `n_block`.
            labels: Shape (n,), what each should be of; None if that is not known.

        Returns:
            Numbers by their names.

        Raises:
            InputError: If there are too few images, or values that are not finite.
        """
        row: Row = {}
        for embedding in self._embeddings:
            row |= self._distances(embedding, self._features(embedding, torch.split(images, _BATCH)))
        if self.classifier is not None:
            row |= self._classified(self.classifier, images, labels)
        return row

    def neighbourhoods(self, *groups: Tensor) -> list[Neighbourhood]:
        """Where the training crops are that each group's images are nearest to, over all places in all training images.

        What takes time is to read those, so ask for all groups at once.
        """
        held_out_missing = self._held_out_distances is None and len(self._held_out) >= _LEAST
        held_out = list(self._images(self._held_out[:N_NEIGHBOURS])) if held_out_missing else []
        distances, crops = self._neighbours.nearest(torch.cat([*groups, *held_out]).cpu())
        ends = [0, *accumulate(map(len, groups))]
        if held_out:
            self._held_out_distances = distances[ends[-1] :]
        return [self._neighbourhood(distances[start:end], crops[start:end]) for start, end in pairwise(ends)]

    def memory(self, found: Neighbourhood) -> Row:
        """Distance to the nearest training crop, and copy rate."""
        name = self._neighbours.embedding.name
        row = {f"neighbour_{name}": float(found.distances.median())}
        return row if found.copy_rate is None else row | {f"copy_rate_{name}": found.copy_rate}

    def rows(self, groups: Iterable[Group]) -> dict[str, Row]:
        """All numbers of several groups of images, and of the first 200 of each where they are in the training images.

        Args:
            groups: As `measure` wants them; asked for one at a time, and not kept.

        Returns:
            Rows by the groups' names.
        """
        rows: dict[str, Row] = {}
        searched: list[Tensor] = []
        for group in groups:
            rows[group.name] = self.measure(group.images, group.labels)
            searched.append(group.images[:N_NEIGHBOURS].clone())
        found = self.neighbourhoods(*searched)
        return {name: row | self.memory(near) for (name, row), near in zip(rows.items(), found, strict=True)}

    def known(self, inversion: Callable[[Tensor], Tensor]) -> Iterator[Group]:
        """Sounds whose numbers tell what others mean: held-out recordings, the same inverted, and noise.

        Args:
            inversion: Magnitude to waveform, the method that is listened to.

        Returns:
            Groups, best first; only noise if nothing is held out.
        """
        if len(self._held_out) >= _LEAST:
            real = torch.cat(list(self._images(self._held_out)))
            labels = self._labels(self._held_out)
            yield Group(HELD_OUT, real, labels)
            heard = torch.cat(
                [self._inverted(images, inversion) for images in each(torch.split(real, _BATCH), "invert", "part")]
            )
            yield Group("the same, inverted", heard, labels)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "noise"))
        yield Group("noise", 2.0 * torch.rand(self.n_block, 1, *self.data.image_size, generator=generator) - 1.0)

    def samples(self, gan: GAN, name: str = "samples") -> Group:
        """Images of a generator to be measured, always of the same latents, and their labels, evenly many of each."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "evaluate"))
        latents = torch.randn(self.n_images, gan.latent_dim, generator=generator)
        labels = torch.randperm(self.n_images, generator=generator) % gan.n_classes if gan.n_classes else None
        images = [
            gan.sample(latents[part], None if labels is None else labels[part]).float().cpu()
            for part in each(torch.split(torch.arange(self.n_images), _BATCH), f"generate, {name}", "part")
        ]
        return Group(name, torch.cat(images), labels)

    def _neighbourhood(self, distances: Tensor, crops: list[Crop]) -> Neighbourhood:
        held_out = self._held_out_distances
        return Neighbourhood(distances, crops, None if held_out is None else copy_rate(distances, held_out))

    def _draw(self, name: str, images: list[int]) -> list[Crop]:
        if not images:
            return []
        rng = np.random.default_rng(derive_seed(self.seed, "evaluate", name))
        fresh = fresh_frames(self.data.store, images, self.data.n_frames)
        return drawn_crops(fresh, self.data.n_frames, self.n_images, rng)

    def _batches(self, crops: list[Crop]) -> Iterator[Batch]:
        for start in range(0, len(crops), _BATCH):
            yield self._dataset.__getitems__(crops[start : start + _BATCH])

    def _images(self, crops: list[Crop]) -> Iterator[Tensor]:
        return (batch.images for batch in self._batches(crops))

    def _labels(self, crops: list[Crop]) -> Tensor | None:
        labels = self._dataset.labels
        return None if labels is None else labels[[crop.image for crop in crops]]

    def _features(self, embedding: Embedding, batches: Iterable[Tensor]) -> Tensor:
        return torch.cat([embedding(images).cpu() for images in batches])

    def _inverted(self, images: Tensor, inversion: Callable[[Tensor], Tensor]) -> Tensor:
        waveforms = waveform_from_image(images, self.data.scale, inversion)
        return image_from_waveform(waveforms, self.data.settings, self.data.scale)

    def _distances(self, embedding: Embedding, features: Tensor) -> Row:
        real, name, n = self._real[embedding.name], embedding.name, self.n_block
        row = {f"frechet_{name}_n{n}": frechet_distance(real, features, n)}
        if min(n, len(real)) >= _LEAST:
            subset = min(_KERNEL_SUBSET, n, len(real))
            kernel = f"kernel_{name}_n{n}"
            row[kernel], row[kernel + _DEVIATION] = kernel_distance(
                real, features, derive_seed(self.seed, "kernel"), subset
            )
        if embedding is self.mel:
            pairs = [density_coverage(real, block) for block in self._blocks(features)]
            row[f"density_{name}_k5_n{n}"], row[f"coverage_{name}_k5_n{n}"] = map(
                statistics.fmean, zip(*pairs, strict=True)
            )
            row |= self._precision_recall(real, features)
            n_bins = min(_MOST_BINS, n // 10, self._n_different // 10)
            row[f"different_bins_{name}_k{n_bins}_n{n}"] = statistics.fmean(
                n_different_bins(real, block, derive_seed(self.seed, "bins"), n_bins)
                for block in self._blocks(features)
            )
        return row

    def _precision_recall(self, real: Tensor, features: Tensor) -> Row:
        # Equally many of both, as in the paper: balls among more items are smaller. Every part of the real ones counts.
        n = min(self.n_block, len(real))
        pairs = [precision_recall(real_part, part) for part in _parts(features, n) for real_part in _parts(real, n)]
        precision, recall = map(statistics.fmean, zip(*pairs, strict=True))
        return {
            f"precision_{self.mel.name}_k3_n{n}": precision,
            f"recall_{self.mel.name}_k3_n{n}": recall,
        }

    def _classified(self, classifier: Classifier, images: Tensor, labels: Tensor | None) -> Row:
        n, n_classes = self.n_block, len(classifier.class_names)
        with torch.no_grad():
            logits = torch.cat([classifier(part).cpu() for part in torch.split(images, _BATCH)])
        row: Row = {}
        # What the score is depends on how many images a part has: as many in every row, and two parts of a block.
        n_part = n // 2
        if n_part >= n_classes:
            n_splits = len(logits) // n_part
            name = f"inception_score_n{n_part}"
            row[name], row[name + _DEVIATION] = inception_score(
                logits[: n_splits * n_part], derive_seed(self.seed, "splits"), n_splits
            )
        if labels is not None:
            row["accuracy"] = float((logits.argmax(1) == labels.cpu()).float().mean())
        return row

    def _blocks(self, features: Tensor) -> tuple[Tensor, ...]:
        return _parts(features, self.n_block)


def _parts(items: Tensor, size: int) -> tuple[Tensor, ...]:
    """Parts of one size; what is left of the last one is not used."""
    return torch.split(items[: len(items) // size * size], size)


def table(rows: Mapping[str, Row]) -> str:
    """Rows of numbers side by side, a number a line, as a table in Markdown, which reads well as plain text too."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row if not name.endswith(_DEVIATION)))
    columns = [["", "", *names], *([title, "", *(_cell(row, name) for name in names)] for title, row in rows.items())]
    for column in columns:
        width = max(map(len, column))
        column[1] = "-" * width
        column[:] = [cell.ljust(width) if column is columns[0] else cell.rjust(width) for cell in column]
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*columns, strict=True))


def _cell(row: Row, name: str) -> str:
    if name not in row:
        return ""
    spread = f" ± {_digits(row[name + _DEVIATION])}" if name + _DEVIATION in row else ""
    return f"{_digits(row[name])}{spread}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
