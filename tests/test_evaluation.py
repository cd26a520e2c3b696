"""Rows of numbers are in the order that one hears, and depend on what is measured and on nothing else."""

import math
import statistics

import numpy as np
import pytest
import torch
from conftest import SMALL
from lightning import Trainer
from torch.nn.functional import avg_pool2d

from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.errors import InputError
from gan.evaluate.evaluation import Evaluation, Group, table
from gan.evaluate.metrics import frechet_distance, inception_score, precision_recall
from gan.model.dcgan import Discriminator, Generator
from gan.model.gan import GAN
from gan.model.losses import NonSaturating
from gan.model.penalties import R1
from gan.seed import derive_seed
from gan.sound.codec import Origin, encode_image
from gan.sound.phase.pghi import PGHIGriffinLim
from gan.sound.spectrogram import db_from_magnitude, image_from_db, magnitude_from_waveform

SIZE = (64, 64)
N_WIDE = 96
N_TRAIN, N_HELD_OUT = 180, 60
KINDS = ("hiss", "tone")
INVERSION = PGHIGriffinLim(SMALL, n_iter=2)


def magnitude(index: int, n_frames: int = N_WIDE) -> torch.Tensor:
    """One sound that dies away over a faint hiss: of noise if the index is even, of four harmonics if it is odd."""
    rng = np.random.default_rng(index)
    time = np.arange((n_frames - 1) * SMALL.hop_length) / SMALL.sample_rate
    since = time - rng.uniform(0, 0.15)
    envelope = rng.uniform(0.06, 0.2) * np.exp(-rng.uniform(5, 15) * since.clip(0)) * (since >= 0)
    pitch = rng.uniform(150, 500)
    harmonics = sum(np.sin(2 * np.pi * n * pitch * time) / n for n in range(1, 5))
    sound = harmonics if index % 2 else rng.standard_normal(len(time))
    waveform = envelope * sound + 0.002 * rng.standard_normal(len(time))
    return magnitude_from_waveform(torch.from_numpy(waveform.astype(np.float32)), SMALL)


def write(folder, indices) -> None:
    n_samples = (N_WIDE - 1) * SMALL.hop_length
    for index in indices:
        origin = Origin(f"{index:03d}.wav", 0.0, n_samples, last=True)
        encode_image(folder / KINDS[index % 2] / f"{index:03d}.png", magnitude(index), SMALL, origin)


def open_data(folder, **options) -> ImageData:
    defaults = {"n_frames": 64, "batch_size": 4, "labels": "folder", "validation_fraction": 0.25}
    data = ImageData(folder, **defaults | options)
    data.setup()
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of 240 recordings of two kinds, each a crop and a half wide."""
    folder = tmp_path_factory.mktemp("images")
    write(folder, range(N_TRAIN + N_HELD_OUT))
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return open_data(folder)


@pytest.fixture(scope="module")
def evaluation(data):
    return Evaluation(data, n_images=300)


def unseen(data: ImageData, n: int) -> torch.Tensor:
    """Images of sounds of the same two kinds that are in no file."""
    first = torch.stack([magnitude(1000 + index)[:, index % 32 :][:, :64] for index in range(n)])
    return image_from_db(db_from_magnitude(first, amin=1e-20, top_db=None), data.scale)[:, None]


def blurred(data: ImageData) -> torch.Tensor:
    """Stands for what a GAN has learnt: real sounds, but without the finest of their texture."""
    return avg_pool2d(unseen(data, 120), (1, 3), 1, (0, 1), count_include_pad=False)


def untrained() -> GAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gan = GAN(Generator(SIZE, base_channels=4), Discriminator(SIZE, base_channels=4), NonSaturating())
    gan.calibrate_average()
    return gan.eval()


def all_rows(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    rows = evaluation.rows(evaluation.known(INVERSION))
    for name, images in (
        ("trained", blurred(evaluation.data)),
        ("untrained", evaluation.samples(untrained()).images),
    ):
        rows |= evaluation.rows([Group(name, images)])
    return rows


@pytest.fixture(scope="module")
def rows(evaluation):
    return all_rows(evaluation)


ORDER = ("held-out recordings", "the same, inverted", "trained", "untrained", "noise")


def test_rows_are_in_the_order_that_one_hears(evaluation, rows):
    assert evaluation.n_block == N_HELD_OUT
    assert evaluation.criterion == "frechet_mel_n60"
    distances = [rows[name][evaluation.criterion] for name in ORDER]
    assert distances == sorted(distances)
    # The two in the middle are told apart from their neighbours by far.
    assert distances[2] > 2 * distances[1]
    assert distances[3] > 10 * distances[2]
    for name in ("held-out recordings", "the same, inverted"):
        assert rows[name]["different_bins_mel_k6_n60"] <= 1 / 6
        assert rows[name]["coverage_mel_k5_n60"] > 0.6
        assert rows[name]["precision_mel_k3_n60"] > 0.6
        assert rows[name]["recall_mel_k3_n60"] > 0.6
    for name in ("untrained", "noise"):
        assert rows[name]["density_mel_k5_n60"] == rows[name]["coverage_mel_k5_n60"] == 0.0
        assert rows[name]["precision_mel_k3_n60"] == rows[name]["recall_mel_k3_n60"] == 0.0
    # Without bias, there is no difference between training and held-out crops.
    held_out = rows["held-out recordings"]
    assert abs(held_out["kernel_mel_n60"]) < 3 * held_out["kernel_mel_n60_deviation"]
    # By its definition: the rank of the limit is 0.05 (60 + 1), the third of sixty.
    assert held_out["copy_rate_mel_texture_0"] == pytest.approx(3 / 60)


@pytest.mark.slow
def test_a_gan_comes_nearer_while_it_learns(folder, tmp_path):
    data = open_data(folder, batch_size=16)
    evaluation = Evaluation(data, n_images=300)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = Generator(SIZE, base_channels=8), Discriminator(SIZE, base_channels=8, normalization="none")
        gan = GAN(*networks, NonSaturating(), R1(10.0, every=4), generator_lr=5e-4, discriminator_lr=5e-4)
        gan.calibrate_average()
        distances = [evaluation.measure(evaluation.samples(gan).images)[evaluation.criterion]]
        for n_batches in (200, 800):
            trainer = Trainer(
                max_steps=2 * n_batches,
                accelerator="cpu",
                default_root_dir=tmp_path,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                limit_val_batches=0,
            )
            trainer.fit(gan, datamodule=data)
            distances.append(evaluation.measure(evaluation.samples(gan).images)[evaluation.criterion])
    rows = evaluation.rows(evaluation.known(INVERSION))
    assert rows["noise"][evaluation.criterion] > distances[0] > distances[1] > distances[2]
    assert distances[2] > rows["the same, inverted"][evaluation.criterion]
    # Most of the way.
    assert distances[2] < 0.1 * distances[0]


def test_names_say_the_protocol(rows):
    distances = ["frechet_mel_n60", "kernel_mel_n60", "kernel_mel_n60_deviation", "density_mel_k5_n60"]
    shares = ["coverage_mel_k5_n60", "precision_mel_k3_n60", "recall_mel_k3_n60", "different_bins_mel_k6_n60"]
    for row in rows.values():
        assert list(row) == [*distances, *shares, "neighbour_mel_texture_0", "copy_rate_mel_texture_0"]


def test_numbers_depend_on_seed_and_images_alone(folder, evaluation, rows):
    again = Evaluation(open_data(folder), n_images=300)
    torch.manual_seed(77)
    np.random.seed(77)  # noqa: NPY002 - what others may draw from
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    # From the last to the first.
    noise = again.rows(again.known(INVERSION))["noise"]
    images = again.samples(untrained()).images
    row = again.memory(*again.neighbourhoods(images))
    row = again.measure(images) | row
    assert noise == rows["noise"]
    assert row == pytest.approx(rows["untrained"], rel=1e-4)
    assert again.measure(blurred(again.data)).items() <= rows["trained"].items()
    for name, known in again.rows(again.known(INVERSION)).items():
        assert known == pytest.approx(rows[name], rel=1e-4), name
    torch.testing.assert_close(torch.get_rng_state(), states[0], rtol=0, atol=0)
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    # And another seed draws other crops and latents.
    other = Evaluation(evaluation.data, n_images=300, seed=1)
    assert (other.samples(untrained()).images != images).any()
    distance = other.measure(images)["frechet_mel_n60"]
    assert distance != row["frechet_mel_n60"]
    assert distance == pytest.approx(row["frechet_mel_n60"], rel=0.05)


def test_normalisation_does_not_matter(folder, rows):
    other = Evaluation(open_data(folder, normalization="per_frequency"), n_images=300)
    assert other.data.scale.mean_db is not None
    for name, row in other.rows(other.known(INVERSION)).items():
        if name != "noise":  # which is another sound on another scale
            for number, value in row.items():
                # Levels beyond three deviations are clipped.
                spread = 0.1 * rows[name].get(f"{number}_deviation", 0.0)
                assert value == pytest.approx(rows[name][number], rel=0.1, abs=0.06 + spread), (name, number)


def test_more_images_are_measured_in_blocks(evaluation, data):
    images = unseen(data, 4 * N_HELD_OUT)
    whole = evaluation.measure(images)
    blocks = [evaluation.measure(block) for block in torch.split(images, N_HELD_OUT)]
    for name in ("frechet_mel_n60", "density_mel_k5_n60", "coverage_mel_k5_n60", "different_bins_mel_k6_n60"):
        assert whole[name] == pytest.approx(statistics.fmean(block[name] for block in blocks), rel=1e-6)
    held_out = evaluation.rows(evaluation.known(INVERSION))["held-out recordings"]
    assert whole["frechet_mel_n60"] == pytest.approx(held_out["frechet_mel_n60"], rel=0.3)
    # All at once they would seem much nearer than the held-out ones, which are of the same kinds.
    at_once = frechet_distance(evaluation._real["mel"], evaluation.mel(images))
    assert at_once < 0.6 * whole["frechet_mel_n60"]
    # What is left of a block is not used.
    more = evaluation.measure(torch.cat([images[:N_HELD_OUT], torch.ones(N_HELD_OUT - 1, 1, *SIZE)]))
    assert more["frechet_mel_n60"] == pytest.approx(blocks[0]["frechet_mel_n60"], rel=1e-6)


def test_copies_are_found_wherever_they_start(evaluation, data):
    crops = [Crop(image, place % 33) for place, image in enumerate(data.train_images)]
    copies = data.crops().__getitems__(crops).images
    found = evaluation.neighbourhoods(copies)[0]
    assert found.copy_rate == 1.0
    assert found.crops == crops
    assert float(found.distances.max()) < 1e-3
    row = evaluation.memory(*evaluation.neighbourhoods(copies))
    assert row == {
        "neighbour_mel_texture_0": pytest.approx(0.0, abs=1e-3),
        "copy_rate_mel_texture_0": 1.0,
    }
    new = evaluation.neighbourhoods(unseen(data, 180))[0]
    assert new.copy_rate == pytest.approx(0.05, abs=0.05)
    assert {crop.image for crop in new.crops} <= set(data.train_images)
    # The first 200 count.
    mixed = evaluation.rows([Group("mixed", torch.cat([copies, unseen(data, 30)]))])["mixed"]
    first = evaluation.neighbourhoods(unseen(data, 20))[0].copy_rate
    assert mixed["copy_rate_mel_texture_0"] == pytest.approx(0.9 + 0.1 * first)
    # Searched together, each group is as it is alone.
    pair = evaluation.neighbourhoods(copies[:30], unseen(data, 20))
    assert [near.copy_rate for near in pair] == [1.0, first]
    assert pair[0].crops == crops[:30]


class Listener(torch.nn.Module):
    """Stands for a trained classifier: sure by 4 in the logits that bright images are a tone and dark ones a hiss."""

    class_names = KINDS

    def forward(self, images):
        return 4.0 * torch.nn.functional.one_hot((images.mean((1, 2, 3)) > 0).long(), 2)

    def features(self, images):
        return avg_pool2d(images, 32).flatten(1)


def test_classifier_says_what_the_numbers_are_of(data):
    evaluation = Evaluation(data, n_images=300, classifier=Listener())
    noise = 0.1 * torch.randn(2 * N_HELD_OUT, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(2 * N_HELD_OUT) % 2
    images = noise + (labels - 0.5)[:, None, None, None]
    wrong = labels.clone()
    wrong[:30] = 1 - wrong[:30]
    row = evaluation.measure(images, wrong)
    assert row["accuracy"] == 0.75
    assert "accuracy" not in evaluation.measure(images)
    # Two parts a block, of thirty each. All halves: p(y) = 1/2, p(y|x) = s = 1 / (1 + e^-4), so KL = ln 2 - H(s).
    s = 1 / (1 + math.exp(-4))
    expected = 2 * s**s * (1 - s) ** (1 - s)
    assert row["inception_score_n30"] == pytest.approx(expected, abs=0.04)
    score, spread = inception_score(evaluation.classifier(images), derive_seed(0, "splits"), 4)
    assert (row["inception_score_n30"], row["inception_score_n30_deviation"]) == (score, spread)
    one_kind = evaluation.measure(images.abs(), labels)
    assert one_kind["inception_score_n30"] == pytest.approx(1.0, abs=1e-6)
    assert one_kind["accuracy"] == 0.5
    assert row["frechet_classifier_n60"] == pytest.approx(
        frechet_distance(evaluation._real["classifier"], Listener().features(images), 60)
    )
    # Real rows know their labels.
    known = evaluation.rows(evaluation.known(INVERSION))
    right = [
        KINDS[int(data.crops()[crop].images.mean() > 0)] == data.store.images[crop.image].file.split("/")[0]
        for crop in evaluation._held_out
    ]
    assert known["held-out recordings"]["accuracy"] == pytest.approx(statistics.fmean(right))
    assert "accuracy" not in known["noise"]


@pytest.mark.parametrize("n_images", [61, 90, 101, 119, 120, 150])
def test_inception_scores_are_of_parts_of_the_size_that_is_said(data, n_images):
    """What is left over is not used, whatever the number of images; so rows of other numbers are as biased."""
    evaluation = Evaluation(data, n_images=300, classifier=Listener())
    sizes = []

    def score(logits, seed, n_splits):
        sizes.append((len(logits), n_splits))
        return inception_score(logits, seed, n_splits)

    images = torch.randn(n_images, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gan.evaluate.evaluation.inception_score", score)
        row = evaluation.measure(images)
    n_parts = n_images // 30
    assert sizes == [(30 * n_parts, n_parts)]
    expected = inception_score(evaluation.classifier(images[: 30 * n_parts]), derive_seed(0, "splits"), n_parts)
    assert (row["inception_score_n30"], row["inception_score_n30_deviation"]) == expected


def test_precision_and_recall_are_of_equally_many(data, evaluation):
    images = unseen(data, 130)
    row = evaluation.measure(images)
    features, real = evaluation.mel(images), evaluation._real["mel"]
    assert len(real) == 180
    pairs = [precision_recall(real[i : i + 60], features[j : j + 60]) for i in (0, 60, 120) for j in (0, 60)]
    precision, recall = map(statistics.fmean, zip(*pairs, strict=True))
    assert row["precision_mel_k3_n60"] == pytest.approx(precision, abs=0.002)
    assert row["recall_mel_k3_n60"] == pytest.approx(recall, abs=0.002)
    # A collapsed generator may be precise, but recalls nothing.
    collapsed = evaluation.measure(images[:1].repeat(60, 1, 1, 1))
    assert collapsed["precision_mel_k3_n60"] in (0.0, *(part / 3 for part in (1, 2, 3)))
    assert collapsed["recall_mel_k3_n60"] == 0.0


def test_samples_are_even_of_all_labels(data):
    class Conditional:
        latent_dim, n_classes = 4, 3

        def sample(self, latents, labels):
            assert len(latents) == len(labels) <= 64
            return (latents[:, :1] + labels[:, None]).reshape(-1, 1, 1, 1)

    evaluation = Evaluation(data, n_images=90)
    _, images, labels = evaluation.samples(Conditional())
    assert images.shape == (90, 1, 1, 1)
    assert labels.bincount().tolist() == [30, 30, 30]
    assert labels[:30].unique().tolist() == [0, 1, 2]
    # The labels are those that the images were made with.
    assert float((images.flatten() - labels).std()) == pytest.approx(1.0, abs=0.2)


def test_without_enough_held_out_crops_nothing_is_compared_with_them(folder):
    data = open_data(folder, validation_fraction=0.0)
    evaluation = Evaluation(data, n_images=50)
    assert evaluation.n_block == 50
    rows = evaluation.rows(evaluation.known(INVERSION))
    assert list(rows) == ["noise"]
    assert list(evaluation.memory(*evaluation.neighbourhoods(unseen(data, 3)))) == ["neighbour_mel_texture_0"]
    assert evaluation.neighbourhoods(unseen(data, 3))[0].copy_rate is None
    # Nor are 12.
    few = Evaluation(open_data(folder, validation_fraction=0.05), n_images=50)
    assert len(few._held_out) == 12
    assert few.n_block == 50
    assert list(few.rows(few.known(INVERSION))) == ["noise"]


def test_too_little_to_compare_with_is_said(tmp_path):
    write(tmp_path, range(19))
    with pytest.raises(InputError, match=r"19 different training crops are too few .*; 20 are needed"):
        Evaluation(open_data(tmp_path, validation_fraction=0.0))
    write(tmp_path, range(19, 24))
    data = open_data(tmp_path, validation_fraction=0.0)
    with pytest.raises(InputError, match=r"n_images is 19; it must lie in \[20, 100000\], 1000 is usual"):
        Evaluation(data, n_images=19)
    row = Evaluation(data).measure(unseen(data, 24))
    assert list(row)[-1] == "different_bins_mel_k2_n24"
    with pytest.raises(InputError, match="needs 24 generated items or more, but there are 23"):
        Evaluation(data).measure(unseen(data, 23))


def test_the_same_sound_again_and_again_is_few_crops(tmp_path):
    for index in range(40):
        origin = Origin(f"{index}.wav", 0.0, 63 * SMALL.hop_length, last=True)
        same = magnitude(0 if index < 25 else index, 64)
        encode_image(tmp_path / KINDS[index % 2] / f"{index}.png", same, SMALL, origin)
    data = open_data(tmp_path, validation_fraction=0.0)
    with pytest.raises(InputError, match="16 different training crops are too few"):
        Evaluation(data)


def test_table_is_markdown():
    rows = {
        "held-out recordings": {
            "frechet_mel_n60": 9.5839,
            "kernel_mel_n60": -0.00723,
            "kernel_mel_n60_deviation": 0.0531,
        },
        "noise": {"frechet_mel_n60": 4201.3, "accuracy": 0.5},
    }
    assert table(rows) == "\n".join(
        [
            "|                 | held-out recordings | noise |",
            "| --------------- | ------------------- | ----- |",
            "| frechet_mel_n60 |                9.58 |  4201 |",
            "| kernel_mel_n60  |   -0.00723 ± 0.0531 |       |",
            "| accuracy        |                     |   0.5 |",
        ]
    )
