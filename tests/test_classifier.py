"""The classifier sees levels whatever images say them with, learns what is easy, and is kept."""

import librosa
import numpy as np
import pytest
import torch
from conftest import SMALL

from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.errors import InputError
from gan.evaluate import classifier as module
from gan.evaluate.classifier import Classifier, ClassifierFeatures, open_classifier, train_classifier
from gan.sound.codec import encode_image
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale, image_from_db

N_IMAGES = 24


@pytest.fixture
def images(tmp_path):
    """Noise in the lower or in the upper half of the frequencies, with levels over 12 dB."""
    for index in range(N_IMAGES):
        rng = torch.Generator().manual_seed(index)
        magnitude = 1e-3 * torch.rand(65, 40, generator=rng)
        low = index % 2 == 0
        magnitude[slice(0, 32) if low else slice(32, 64)] += torch.rand(32, 40, generator=rng)
        encode_image(
            tmp_path / ("low" if low else "up") / f"{index:02d}.png", 4 ** (index / N_IMAGES) * magnitude, SMALL
        )
    return tmp_path


@pytest.fixture
def few_steps(monkeypatch):
    """Enough for what is easy."""
    monkeypatch.setattr(module, "_N_STEPS", 25)


def data(images, **options) -> ImageData:
    given = {"n_frames": 32, "batch_size": 4, "labels": "folder", "validation_fraction": 0.25, **options}
    made = ImageData(images, **given)
    made.setup()
    return made


def test_levels_are_mel_levels_in_db():
    scale = ImageScale(top_db=10.0, range_db=80.0)
    classifier = Classifier(SMALL, scale, reference_db=6.0, class_names=["a", "b"])
    rng = np.random.default_rng(0)
    level_db = rng.uniform(-70, 6, (3, 65, 24)).astype(np.float32)
    level_db[1] = -24.0
    images = image_from_db(torch.from_numpy(level_db), scale)[:, None]
    filters = librosa.filters.mel(sr=8000, n_fft=128, n_mels=40, norm=None)[:, :64]
    power = 10 ** (np.clip(level_db[:, :64] - 6.0, -60, 0) / 10)
    expected = 10 * np.log10(np.stack([filters @ image for image in power]) / filters.sum(1)[:, None])
    np.testing.assert_allclose(classifier.levels(images)[:, 0], expected / 30 + 1, atol=1e-4)
    # All cells 30 dB below the reference are 30 dB below it in every band.
    np.testing.assert_allclose(classifier.levels(images)[1], 0.0, atol=1e-4)


def test_wide_images_are_averaged_in_time():
    scale = ImageScale(top_db=0.0, range_db=80.0)
    classifier = Classifier(SMALL, scale, reference_db=0.0, class_names=["a", "b"])
    level_db = torch.tensor([0.0, -20.0]).repeat(64).expand(1, 65, 128)
    levels = classifier.levels(image_from_db(level_db, scale)[:, None])
    assert levels.shape[-1] == 64
    torch.testing.assert_close(levels, torch.full_like(levels, 10 * np.log10((1 + 0.01) / 2) / 30 + 1))


def test_normalisation_of_a_run_does_not_matter(images):
    runs = [{}, {"top_db": 20.0, "range_db": 100.0}, {"normalization": "per_frequency"}]
    seen = []
    for options in runs:
        run = data(images, **options)
        classifier = module._untrained(run)
        crops = [Crop(index, 3) for index in range(N_IMAGES)]
        seen.append(classifier.levels(run.crops().__getitems__(crops).images))
    torch.testing.assert_close(seen[1], seen[0], atol=1e-4, rtol=0)
    # What is beyond three deviations is clipped, which is seen.
    assert (seen[2] - seen[0]).abs().mean() < 0.02
    assert len({module._digest(data(images, **options)) for options in runs}) == 1
    # Where all images are lifted to one level, that is the reference.
    lifted = data(images, equal_levels=True, top_db=-5.0)
    assert module._untrained(lifted).reference_db == -5.0
    assert module._digest(lifted) != module._digest(data(images))


def test_training_finds_what_is_easy_and_follows_from_the_seed(images, few_steps):
    run = data(images)
    before = torch.get_rng_state()
    classifier = train_classifier(run, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert classifier.accuracy == 1.0
    assert classifier.n_validation == len(run.validation_images) == 6
    assert not classifier.training
    batch = run.crops().__getitems__([Crop(index, 4) for index in range(N_IMAGES)])
    assert classifier(batch.images).argmax(1).tolist() == batch.labels.tolist()
    torch.manual_seed(1)
    again, other = train_classifier(run, seed=3), train_classifier(run, seed=4)
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(classifier(batch.images), other(batch.images))


def test_accuracy_is_that_of_held_out_crops(images, few_steps, monkeypatch):
    run = data(images)
    monkeypatch.setattr(module, "_N_STEPS", 1)
    classifier = train_classifier(run, seed=0)
    found = [
        int(classifier(run.crops()[Crop(index, 0)].images).argmax()) == int(run.crops().labels[index])
        for index in run.validation_images
    ]
    assert classifier.accuracy == pytest.approx(np.mean(found))
    assert train_classifier(data(images, validation_fraction=0.0), seed=0).accuracy is None


def test_logits_are_linear_in_the_features(images):
    run = data(images)
    classifier = module._untrained(run).eval()
    given = run.crops().__getitems__([Crop(index, 0) for index in range(5)]).images
    embed = ClassifierFeatures(classifier)
    features = embed(given)
    assert features.shape == (5, embed.n_features)
    assert not features.requires_grad
    weight, bias = classifier.decide[1].weight, classifier.decide[1].bias
    torch.testing.assert_close(features @ weight.T + bias, classifier(given))


@pytest.mark.parametrize(("n_freqs", "n_frames"), [(4, 1), (8, 16), (64, 4), (128, 128), (1024, 256), (500, 100)])
def test_any_size(n_freqs, n_frames):
    settings = SpectrogramSettings(22050, 2 * n_freqs, n_freqs // 2, 2 * n_freqs)
    classifier = Classifier(settings, ImageScale(0.0), 0.0, ["a", "b", "c"]).eval()
    given = torch.rand(2, 1, n_freqs, n_frames, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        logits = classifier(given)
        assert logits.shape == (2, 3)
        # Each image for itself.
        torch.testing.assert_close(classifier(given[:1]), logits[:1])


def test_changes_are_valid():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        silence = module._changed(torch.full((200, 1, 40, 64), -1.0)).flatten(1)
        changed = module._changed(torch.zeros(200, 1, 40, 64))
        moved = module._changed(torch.arange(64).expand(200, 1, 40, 64) / 64.0)
    # A floor raised by at most 24 of the 60 dB, in half of them.
    assert torch.equal(silence.amin(1), silence.amax(1))
    assert 70 < silence[:, 0].eq(-1).sum() < 130
    assert -0.3 < silence.max() <= -0.2
    for image in changed:
        # One gain of at most 6 of the 60 dB for all, and at most 5 of 40 bands and 8 of 64 times masked.
        assert image.max().abs() <= 0.2
        assert (image == image.max()).sum() >= 35 * 56
        assert len(image.unique()) <= 2
    assert changed.amax((1, 2, 3)).std() > 0.05
    # Time runs on, from one start within an eighth of the width.
    steps = moved[:, 0].amax(1).diff(dim=1)
    assert (steps - 1 / 64).abs().lt(1e-4).float().mean() > 0.8


def test_classifier_is_kept(images, few_steps, monkeypatch):
    run = data(images)
    trained = open_classifier(run)
    (path,) = (images / ".store").glob("classifier-*.safetensors")
    monkeypatch.setattr(module, "train_classifier", None)  # cannot be called
    read = open_classifier(data(images, normalization="per_frequency"))
    assert read.scale.mean_db is not None
    assert (read.accuracy, read.n_validation, read.class_names) == (1.0, 6, ["low", "up"])
    given = run.crops().__getitems__([Crop(index, 0) for index in range(5)]).images
    torch.testing.assert_close(open_classifier(run)(given), trained(given), rtol=0, atol=0)
    assert not read.training
    assert path.stat().st_mode & 0o777 == (images / ".store" / "index.json").stat().st_mode & 0o777


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other"])
def test_damaged_or_foreign_file_is_made_anew(images, few_steps, damage):
    run = data(images)
    open_classifier(run)
    (path,) = (images / ".store").glob("classifier-*.safetensors")
    whole = path.read_bytes()
    if damage == "other":
        other = data(images, n_frames=16)
        open_classifier(other)
        (foreign,) = set((images / ".store").glob("classifier-*.safetensors")) - {path}
        path.write_bytes(foreign.read_bytes())
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"Dear diary, " * 99}[damage])
    assert open_classifier(run).accuracy == 1.0
    assert path.read_bytes() == whole


def test_labels_are_needed(images):
    with pytest.raises(InputError, match=r"a classifier needs labels of two classes or more, but data.labels is None"):
        open_classifier(data(images, labels=None))
    with pytest.raises(InputError, match=r"two classes or more, but data.labels is '\(png\)'"):
        open_classifier(data(images, labels="(png)"))
