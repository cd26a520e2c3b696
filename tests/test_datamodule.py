"""Crops are what the codec says they are; order and split follow from the seed alone."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SMALL, music
from jsonargparse import ArgumentParser

from gan.data import opening
from gan.data.crops import Crop, CropSampler, drawn_crops, fresh_frames, side_by_side
from gan.data.datamodule import ImageData
from gan.data.listing import find_versions
from gan.data.opening import Opening, open_store
from gan.data.store import ImageStore
from gan.errors import InputError
from gan.sound.codec import Origin, decode_image, encode_image, read_header
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import (
    ImageScale,
    db_from_image,
    db_from_magnitude,
    image_from_db,
    magnitude_from_waveform,
)


@pytest.fixture
def images(tmp_path, write_image):
    """Twenty recordings of two labels, 30 to 207 frames, levels over 20 dB."""
    for index in range(20):
        kind = "drum" if index % 2 else "bell"
        write_image(tmp_path / kind / f"{index:02d}.png", 30 + 9 * index, seed=index, level=10 ** (-index / 20))
    return tmp_path


def data(images, **options) -> ImageData:
    module = ImageData(images, **{"n_frames": 64, "batch_size": 4} | options)
    module.setup()
    return module


def image_by_codec(images, file: str, scale: ImageScale) -> torch.Tensor:
    magnitude, _ = decode_image(images / file)
    return image_from_db(db_from_magnitude(magnitude, amin=1e-20, top_db=None), scale)


def test_crops_are_the_images_of_the_codec(images):
    module = data(images)
    crops = [Crop(5, 0), Crop(9, 17), Crop(19, 100)]
    batch = module.crops().__getitems__(crops)
    assert batch.images.shape == (3, 1, 64, 64)
    assert batch.labels is None
    for crop, image in zip(crops, batch.images, strict=True):
        expected = image_by_codec(images, module.store.images[crop.image].file, module.scale)
        torch.testing.assert_close(image[0], expected[:, crop.start : crop.start + 64], atol=1e-5, rtol=0)


def test_scale_is_the_loudest_image_or_as_asked(images):
    levels = [image.level_db for image in data(images).store.images]
    assert data(images).scale == ImageScale(max(levels), 80.0)
    assert data(images, top_db=3.0, range_db=60.0).scale == ImageScale(3.0, 60.0)
    loudest = [float(data(images).crops()[Crop(index, 0)].images.max()) for index in range(20)]
    assert max(loudest) == pytest.approx(1.0)
    assert min(loudest) < 0.6


def test_equal_levels_make_every_image_white_somewhere(images):
    module = data(images, equal_levels=True, n_frames=16)
    for index, image in enumerate(module.store.images):
        whole = torch.cat([module.crops()[Crop(index, start)].images for start in range(0, image.n_frames - 15, 1)])
        assert float(whole.max()) == pytest.approx(1.0, abs=1e-5)
    levels = sorted(image.level_db for image in module.store.images)
    assert module.scale.top_db == pytest.approx((levels[9] + levels[10]) / 2)


def all_crops(module: ImageData, images: list[int]) -> torch.Tensor:
    """The chosen images' crops side by side, as the module gives them."""
    crops = side_by_side(fresh_frames(module.store, images, module.n_frames), module.n_frames)
    return module.crops().__getitems__(crops).images


@pytest.mark.parametrize("equal_levels", [False, True])
def test_per_frequency_crops_are_normalised_levels(images, equal_levels):
    module = data(images, normalization="per_frequency", equal_levels=equal_levels, validation_fraction=0.4)
    plain = data(images, equal_levels=equal_levels, validation_fraction=0.4)
    # The levels in dB as the GAN sees them, silence of short images included.
    shown = all_crops(plain, plain.train_images)
    level_db = db_from_image(shown[:, 0], plain.scale)[:, :-1].double()
    mean, deviation = level_db.mean((0, 2)), level_db.std((0, 2), correction=0)
    torch.testing.assert_close(torch.tensor(module.scale.mean_db).double(), mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.tensor(module.scale.deviation_db).double(), deviation, atol=1e-4, rtol=0)
    normalised = (level_db - mean[:, None]) / (3 * deviation[:, None])
    assert normalised.mean((0, 2)).abs().max() < 1e-6
    assert (normalised.std((0, 2), correction=0) - 1 / 3).abs().max() < 1e-6
    got = all_crops(module, module.train_images)[:, 0]
    torch.testing.assert_close(got, normalised.clamp(-1, 1).float(), atol=1e-4, rtol=0)
    # And as image_from_db has it, also where it is not trained on.
    level_db = db_from_image(all_crops(plain, plain.validation_images)[:, 0], plain.scale)
    got = all_crops(module, module.validation_images)[:, 0]
    torch.testing.assert_close(got, image_from_db(level_db, module.scale), atol=1e-4, rtol=0)


def test_frequency_that_never_changes_is_no_division_by_zero(tmp_path):
    for index in range(3):
        magnitude = torch.rand(65, 64, generator=torch.Generator().manual_seed(index)) + 0.5
        magnitude[7] = 0.0
        encode_image(tmp_path / f"{index}.png", magnitude, SMALL)
    module = data(tmp_path, batch_size=1, normalization="per_frequency", validation_fraction=0.0)
    assert module.scale.mean_db[7] == pytest.approx(module.scale.floor_db)
    assert module.scale.deviation_db[7] == 0.1
    shown = all_crops(module, module.train_images)
    assert shown[:, 0, 7].abs().max() < 1e-4
    assert db_from_image(shown[:, 0], module.scale)[:, 7].max() == pytest.approx(module.scale.floor_db, abs=1e-4)


def test_statistics_of_a_sample_of_crops(images, monkeypatch):
    every = data(images, n_frames=8, normalization="per_frequency").scale
    monkeypatch.setattr("gan.data.scale._N_STATISTICS", 60)
    monkeypatch.setattr("gan.data.scale._N_READ", 7)
    some = data(images, n_frames=8, normalization="per_frequency").scale
    assert some != every
    np.testing.assert_allclose(some.mean_db, every.mean_db, atol=5)
    np.testing.assert_allclose(some.deviation_db, every.deviation_db, atol=5)


def test_resumed_run_keeps_its_statistics(images, write_image, monkeypatch):
    module = data(images, normalization="per_frequency")
    torch.save(module.state_dict(), images / "state.ckpt")
    state = torch.load(images / "state.ckpt", weights_only=True)
    assert ImageScale(**state["scale"]) == module.scale
    write_image(images / "bell" / "new.png", 700, level=0.1)
    resumed = data(images, normalization="per_frequency")
    monkeypatch.setattr("gan.data.datamodule.per_frequency_scale", None)  # cannot be called
    resumed.load_state_dict(state)
    assert resumed.scale == module.scale
    assert resumed.state_dict()["scale"] == state["scale"]


def test_checkpoint_of_before_there_were_means(images):
    state = data(images).state_dict() | {"scale": {"top_db": -7.0, "range_db": 66.0}}
    module = data(images)
    module.load_state_dict(state)
    assert module.scale == ImageScale(-7.0, 66.0)


def test_short_image_is_followed_by_silence(images):
    module = data(images)
    narrow = next(index for index, image in enumerate(module.store.images) if image.n_frames == 30)
    image = module.crops()[Crop(narrow, 0)].images[0, 0]
    assert (image[:, 30:] == -1).all()
    assert (image[:, :30] > -1).any()


def test_silent_image_is_black(tmp_path, write_image):
    write_image(tmp_path / "a.png", level=0.0)
    write_image(tmp_path / "b.png")
    module = data(tmp_path, batch_size=1, validation_fraction=0.0)
    assert (module.crops()[Crop(0, 0)].images == -1).all()
    assert float(module.crops()[Crop(1, 0)].images.max()) == pytest.approx(1.0)


def test_all_silent_is_refused(tmp_path, write_image):
    write_image(tmp_path / "a.png", level=0.0)
    with pytest.raises(InputError, match="all images are silent"):
        _ = data(tmp_path, batch_size=1).scale


def test_split_is_by_recording_and_stable(tmp_path, write_image):
    for recording in range(8):
        for window in range(3):
            write_image(tmp_path / f"{recording}.{window}.png", seed=recording, recording=f"{recording}.wav")
    module = data(tmp_path, validation_fraction=0.25)
    names = [
        [module.store.images[i].recording for i in part] for part in (module.train_images, module.validation_images)
    ]
    assert len(names[0]) == 18
    assert len(names[1]) == 6
    assert not set(names[0]) & set(names[1])
    assert data(tmp_path, validation_fraction=0.25).validation_images == module.validation_images
    assert data(tmp_path, validation_fraction=0.25, seed=3).validation_images != module.validation_images
    write_image(tmp_path / "new.0.png", recording="new.wav")
    grown = data(tmp_path, validation_fraction=0.25)
    kept = {grown.store.images[i].recording for i in grown.validation_images} & set(names[1])
    assert kept, "a new recording must not reshuffle the split"


def test_one_recording_has_no_validation(tmp_path, write_image):
    write_image(tmp_path / "only.png", n_frames=300)
    module = data(tmp_path, batch_size=1)
    assert module.validation_images == []
    assert module.val_dataloader() == []


def test_pattern_says_what_is_held_out(tmp_path, write_image):
    for digit in range(3):
        for take in range(4):
            for window in range(2):
                name = f"{digit}_jackson_{take}.wav"
                write_image(tmp_path / f"{name}.{window}.png", seed=take, recording=f"sounds/{name}")
    module = data(tmp_path, validation=r"_[01]\.wav$", validation_fraction=0.9)
    held_out = [module.store.images[index].file for index in module.validation_images]
    assert held_out == [
        f"{digit}_jackson_{take}.wav.{window}.png" for digit in range(3) for take in (0, 1) for window in (0, 1)
    ]
    assert sorted(module.train_images + module.validation_images) == list(range(24))
    for pattern, found in ((r"_9\.wav$", "none"), (r"\.wav$", "all")):
        with pytest.raises(
            InputError, match=rf"found in {found} of the 12 recordings, named like 'sounds/0_jackson_0.wav'"
        ):
            data(tmp_path, validation=pattern)
    with pytest.raises(InputError, match=r"data.validation is '\(', which is no regular expression"):
        data(tmp_path, validation="(")


def test_last_recording_of_a_class_is_trained_on(tmp_path, write_image):
    # Class a has one recording, b two, c five.
    for name, count in (("a", 1), ("b", 2), ("c", 5)):
        for index in range(count):
            write_image(tmp_path / name / f"{name}{index}.png", seed=index)
    for seed in range(10):
        module = data(tmp_path, labels="folder", conditional=True, validation_fraction=0.5, seed=seed, batch_size=1)
        trained = Counter(module.store.images[index].file[0] for index in module.train_images)
        assert set(trained) == {"a", "b", "c"}
        assert len(module.validation_images) == 4
    # More than can be held out: one of each is left. Without labels, one at all.
    module = data(tmp_path, labels="folder", conditional=True, validation_fraction=0.9, batch_size=1)
    assert Counter(module.store.images[index].file[0] for index in module.train_images) == {"a": 1, "b": 1, "c": 1}
    assert len(data(tmp_path, validation_fraction=0.99, batch_size=1).train_images) == 1


def test_classes_that_networks_are_told(images, write_image):
    assert data(images, labels="folder", conditional=True).n_classes == 2
    assert data(images, labels="folder").n_classes == 0
    assert data(images).n_classes == 0
    with pytest.raises(InputError, match=r"data.conditional is true, but there are no labels"):
        ImageData(images, conditional=True)
    with pytest.raises(InputError, match=r"all 20 images are of the class 'png' .* two or more are needed"):
        data(images, labels=r"\.(png)", conditional=True)
    with pytest.raises(InputError, match=r"all 20 images are of the class 'png'"):
        _ = ImageData(images, labels=r"\.(png)", conditional=True).n_classes
    assert data(images, labels=r"\.(png)").class_names == ["png"]
    write_image(images / "gong" / "gong.png", n_frames=80)
    held_out = {"labels": "folder", "validation": "^(gong|00)"}
    with pytest.raises(InputError, match=r"no image of the class 'gong' is left to train on"):
        data(images, conditional=True, **held_out)
    assert data(images, **held_out).class_names == ["bell", "drum", "gong"]


def test_large_validation_is_said(tmp_path, write_image):
    def notes(**options) -> list[str]:
        return data(tmp_path, n_frames=32, batch_size=1, **options).notes

    write_image(tmp_path / "0.png", n_frames=60)
    assert notes() == []
    write_image(tmp_path / "1.png", n_frames=60)
    (note,) = notes()
    assert note.startswith("50% of what was recorded is held out for validation")
    assert notes(validation_fraction=0.0) == []
    assert notes(validation="^0") == []
    for index in range(2, 20):
        write_image(tmp_path / f"{index}.png", n_frames=60)
    assert notes() == []


def test_grey_images_are_refused(tmp_path, write_image):
    for index in range(3):
        encode_image(tmp_path / f"{index}.png", torch.ones(65, 80), SMALL)
    with pytest.raises(InputError, match=r"all cells of 3 crops that were looked at are equal, so there is nothing"):
        data(tmp_path, batch_size=1, validation_fraction=0.0)
    write_image(tmp_path / "3.png", n_frames=80)
    data(tmp_path, batch_size=1, validation_fraction=0.0)
    with pytest.raises(InputError, match=r"look at the images, and at data.top_db"):
        data(tmp_path, batch_size=1, validation_fraction=0.0, top_db=200.0)


def test_labels_from_folder_and_pattern(images):
    module = data(images, labels="folder")
    assert module.class_names == ["bell", "drum"]
    batch = module.crops().__getitems__([Crop(index, 0) for index in range(20)])
    assert batch.labels.tolist() == [0] * 10 + [1] * 10
    module = data(images, labels=r"/([0-9])[0-9]\.png")
    assert module.class_names == ["0", "1"]
    with pytest.raises(InputError, match="no label in its path"):
        _ = data(images, labels="(x)").class_names
    with pytest.raises(InputError, match="must have one group"):
        _ = data(images, labels="x").class_names
    with pytest.raises(InputError, match="no regular expression"):
        _ = data(images, labels="(").class_names


def crops_of(module: ImageData, batches_seen: int, **options) -> list[list[Crop]]:
    sampler = CropSampler(
        module.store, module.train_images, 64, 4, seed=0, batches_seen=lambda: batches_seen, **options
    )
    return list(sampler)


def test_crops_follow_from_batches_seen_alone(images):
    module = data(images)
    first = crops_of(module, 0)
    assert crops_of(module, 0) == first
    second = crops_of(module, len(first))
    # Lightning takes what is left of an epoch that is gone on with, and a whole one if it does not know of that.
    assert crops_of(module, 3) == first[3:] + second[:3]
    assert len(second) == len(first)
    assert second != first


def test_an_epoch_crops_each_image_as_often_as_it_is_wide(images):
    module = data(images, validation_fraction=0.0)
    counts = np.bincount([crop.image for batch in crops_of(module, 0) for crop in batch], minlength=20)
    widths = np.array([image.n_frames for image in module.store.images])
    expected = np.maximum(1, widths // 64)
    assert (counts <= expected).all()
    assert counts.sum() == expected.sum() // 4 * 4


def test_crop_starts_cover_the_image_evenly(tmp_path, write_image):
    write_image(tmp_path / "only.png", n_frames=64 + 99)
    module = data(tmp_path, batch_size=2)
    starts = [
        crop.start
        for epoch in range(600)
        for batch in CropSampler(module.store, [0], 64, 2, 0, lambda epoch=epoch: epoch)
        for crop in batch
    ]
    assert min(starts) == 0
    assert max(starts) == 99
    assert np.mean(starts) == pytest.approx(49.5, abs=3)


def test_ranks_share_an_epoch(images):
    module = data(images)
    alone = CropSampler(module.store, module.train_images, 64, 8, 0, lambda: 0)
    ranks = [crops_of(module, 0, rank=rank, n_ranks=2) for rank in range(2)]
    for batch, parts in zip(alone, zip(*ranks, strict=True), strict=True):
        assert parts[0] + parts[1] == batch


HOP_SECONDS = SMALL.hop_length / SMALL.sample_rate  # 4 ms


def write_window(path: Path, recording: str, start_frame: float, n_frames: int) -> None:
    """An image of a window that starts at so many frames of its recording."""
    n_samples = (n_frames - 1) * SMALL.hop_length
    magnitude = magnitude_from_waveform(torch.from_numpy(music(n_samples, sample_rate=SMALL.sample_rate)), SMALL)
    encode_image(path, magnitude, SMALL, Origin(recording, start_frame * HOP_SECONDS, n_samples, last=False))


def fresh(folder: Path, n_frames: int) -> dict[str, tuple[int, int]]:
    """First fresh frame and number of fresh frames by image."""
    store = open_store(folder, folder / ".store")
    found = fresh_frames(store, range(len(store.images)), n_frames)
    columns = [column.tolist() for column in found]
    return {store.images[image].file: (first, width) for image, first, width in zip(*columns, strict=True)}


def served(module: ImageData, crops: list[Crop]) -> Counter[tuple[str, int]]:
    """How often each frame of each recording is in these crops."""
    count: Counter[tuple[str, int]] = Counter()
    for crop in crops:
        image = module.store.images[crop.image]
        start = round(image.start_second / HOP_SECONDS) + crop.start
        count.update((image.recording, frame) for frame in range(start, start + module.n_frames))
    return count


def test_windows_side_by_side_are_all_fresh(tmp_path):
    # As of 60 s in 2584 frames of 23 ms: the next window starts a little before the frame that would be next.
    for number, start in enumerate((0, 99.98, 199.96)):
        write_window(tmp_path / f"{number}.png", "a.wav", start, 100)
    write_window(tmp_path / "other.png", "b.wav", 50, 100)
    assert fresh(tmp_path, 32) == {"0.png": (0, 100), "1.png": (0, 100), "2.png": (0, 100), "other.png": (0, 100)}


def test_last_window_gives_what_the_one_before_has_not(tmp_path):
    for number, start in enumerate((0, 100, 150)):
        write_window(tmp_path / f"{number}.png", "a.wav", start, 100)
    assert fresh(tmp_path, 32) == {"0.png": (0, 100), "1.png": (0, 100), "2.png": (50, 50)}
    # Less than a crop of it is fresh: it is left out, but then nobody has its frames.
    assert fresh(tmp_path, 64) == {"0.png": (0, 100), "1.png": (0, 100)}


def test_windows_at_small_steps(tmp_path):
    for number in range(9):
        write_window(tmp_path / f"{number}.png", "a.wav", 10 * number, 100)
    # Each step alone gives ten frames; the fourth image has 40 that none before it gave.
    assert fresh(tmp_path, 10) == {"0.png": (0, 100)} | {f"{number}.png": (90, 10) for number in range(1, 9)}
    assert fresh(tmp_path, 40) == {"0.png": (0, 100), "4.png": (60, 40), "8.png": (60, 40)}


def test_images_of_the_same_moment_are_used_once(tmp_path):
    write_window(tmp_path / "a.png", "a.wav", 0, 60)
    write_window(tmp_path / "b.png", "a.wav", 0, 100)
    write_window(tmp_path / "c.png", "a.wav", 20, 60)
    write_window(tmp_path / "short.png", "short.wav", 0, 20)
    # The longer one first, and a recording's only image however short it is.
    assert fresh(tmp_path, 64) == {"b.png": (0, 100), "short.png": (0, 20)}


def test_no_moment_is_in_two_images_crops(tmp_path):
    for recording in range(4):
        for number, start in enumerate((0, 100, 200, 237)):
            write_window(tmp_path / f"{recording}.{number}.png", f"{recording}.wav", start, 100)
    module = data(tmp_path, n_frames=20, batch_size=5, validation_fraction=0.25)
    sampler = CropSampler(module.store, module.train_images, 20, 5, seed=0, batches_seen=lambda: 0)
    assert sampler.n_crops == 3 * (5 + 5 + 5 + 37 // 20)
    crops = [
        crop
        for epoch in range(40)
        for batch in CropSampler(module.store, module.train_images, 20, 5, 0, lambda epoch=epoch: epoch * len(sampler))
        for crop in batch
    ]
    shown: dict[tuple[str, int], set[int]] = {}
    for crop in crops:
        for recording, frame in served(module, [crop]):
            shown.setdefault((recording, frame), set()).add(crop.image)
    assert {len(images) for images in shown.values()} == {1}
    assert 0.98 < len(shown) / (3 * 337) <= 1  # nearly everything of the recordings that are trained on
    # Validation: the same, and each frame once.
    batches = module.val_dataloader().batch_sampler
    count = served(module, [crop for batch in batches for crop in batch])
    assert set(count.values()) == {1}
    assert len(count) == 300 + 37 // 20 * 20


def test_drawn_crops_are_as_an_epochs(tmp_path):
    # The last window of each recording begins with 60 frames that the one before it has.
    for recording, starts in (("a", (0, 100, 140)), ("b", (0, 37)), ("c", (0,))):
        for number, start in enumerate(starts):
            write_window(tmp_path / f"{recording}{number}.png", f"{recording}.wav", start, 100)
    module = data(tmp_path, n_frames=20, batch_size=1, validation_fraction=0.0)
    fresh = fresh_frames(module.store, module.train_images, 20)
    sampler = CropSampler(module.store, module.train_images, 20, 1, seed=0, batches_seen=lambda: 0)
    expected = Counter(crop.image for batch in sampler for crop in batch)
    assert sorted(expected.values()) == [1, 2, 5, 5, 5, 5]

    def draw(n_crops: int, seed: int = 0) -> list[Crop]:
        return drawn_crops(fresh, 20, n_crops, np.random.default_rng(seed))

    drawn = draw(1000)
    assert Counter(crop.image for crop in drawn) == expected
    assert draw(1000) == drawn
    assert draw(1000, seed=1) != drawn
    assert [crop.image for crop in drawn] != sorted(crop.image for crop in drawn)
    # A few are of images that are drawn as often as they are wide.
    few = [crop for seed in range(400) for crop in draw(5, seed)]
    assert len(few) == 2000
    for image, count in Counter(crop.image for crop in few).items():
        assert count == pytest.approx(2000 * expected[image] / 23, rel=0.25)
    # From the first fresh frame to the last place where a crop fits.
    for image, first, width in zip(*fresh, strict=True):
        starts = {crop.start for crop in few if crop.image == image}
        assert (min(starts), max(starts)) == (first, first + width - 20)


def test_workers_change_nothing(images):
    batches = [list(data(images, num_workers=n).train_dataloader()) for n in (0, 2)]
    assert len(batches[0]) == len(batches[1]) > 3
    for alone, worker in zip(*batches, strict=True):
        torch.testing.assert_close(alone.images, worker.images, rtol=0, atol=0)


def test_impossible_sizes_are_refused(images):
    with pytest.raises(InputError, match=r"longer than every image .* at most 201"):
        data(images, n_frames=256)
    with pytest.raises(InputError, match=r"batch_size is 100, more than the \d+ crops of an epoch"):
        data(images, batch_size=100).train_dataloader()
    with pytest.raises(InputError, match=r"data.n_frames is 0"):
        ImageData(images, n_frames=0)
    with pytest.raises(InputError, match=r"validation_fraction"):
        ImageData(images, validation_fraction=1.0)


def test_size_is_known_without_building_the_store(images):
    assert ImageData(images, n_frames=32).image_size == (64, 32)
    assert not (images / ".store").exists()


def test_crops_that_no_image_has_are_refused_before_networks_are_built(images, monkeypatch):
    built, store = [], Opening.store
    monkeypatch.setattr(Opening, "store", lambda opening: built.append(1) or store(opening))
    for n_frames in (2**62, 202):
        # The store is there the second time.
        with pytest.raises(InputError, match=rf"n_frames is {n_frames}, longer than every image .* at most 201"):
            _ = ImageData(images, n_frames=n_frames).image_size
    assert built == [1]


def test_a_long_index_is_read_once(images, monkeypatch):
    ImageData(images, n_frames=32, batch_size=8).setup()
    looks, reads = [], []
    monkeypatch.setattr(opening, "find_versions", lambda *folders: looks.append(1) or find_versions(*folders))
    monkeypatch.setattr(opening, "ImageStore", lambda folder: reads.append(1) or ImageStore(folder))
    module = ImageData(images, n_frames=32, batch_size=8)
    assert module.image_size == (64, 32)
    module.setup()
    module.state_dict()
    assert looks == reads == [1]


def test_files_are_listed_and_looked_into_once(images, write_image, monkeypatch):
    listings, headers = [], []
    monkeypatch.setattr(opening, "find_versions", lambda *folders: listings.append(1) or find_versions(*folders))
    monkeypatch.setattr("gan.data.source.read_header", lambda path: headers.append(path.name) or read_header(path))
    # When the store is built; and when a file is new, this one only.
    for new in ([f"{index:02d}.png" for index in range(20)], ["20.png"]):
        module = ImageData(images, n_frames=32, batch_size=8)
        assert module.image_size == (64, 32)
        module.setup()
        # And once more when nobody else can be building.
        assert listings == [1, 1]
        assert sorted(headers) == new
        listings.clear()
        headers.clear()
        write_image(images / "bell" / "20.png", 64)
    assert len(module.store.images) == 21


@pytest.mark.parametrize("differs", [False, True])
def test_processes_have_the_same_images(images, monkeypatch, differs):
    def gather(gathered: list[str], own: str) -> None:
        gathered[:] = [own, own, "another" if differs else own]

    module = ImageData(images, n_frames=32, batch_size=1)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    module.trainer = SimpleNamespace(world_size=3, global_rank=0)
    if differs:
        with pytest.raises(
            InputError, match=r"the processes of this training found different images, .*; run the same"
        ):
            module.setup("fit")
    else:
        module.setup("fit")
        assert len(module.train_images) == 19


def test_one_process_compares_its_images_with_no_others(images, monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_gather_object", None)
    module = ImageData(images, n_frames=32, batch_size=1)
    module.setup("fit")
    module.trainer = SimpleNamespace(world_size=1, global_rank=0)
    module.setup("fit")


def test_settings_of_the_store_are_those_of_the_first_look(images, monkeypatch):
    module = ImageData(images, n_frames=32)
    other = SpectrogramSettings(8000, 256, 32, 256)
    monkeypatch.setattr(Opening, "settings", lambda _: other)
    assert module.image_size == (128, 32)
    with pytest.raises(InputError, match=r"has n_fft 256, win_length 256, but most have n_fft 128, win_length 128; "):
        module.setup()
    monkeypatch.undo()
    assert ImageData(images, n_frames=32).image_size == (64, 32)


def test_options_of_figures_on_the_command_line(images):
    parser = ArgumentParser()
    parser.add_class_arguments(ImageData, "data")
    given = parser.parse_args(
        [f"--data.images={images}", "--data.figures.sample_rate=44100", "--data.figures.box=[1, 2, 30, 40]"]
    )
    module = parser.instantiate(given).data
    assert module.figures == FigureOptions(sample_rate=44100, box=(1, 2, 30, 40))
    assert parser.parse_string(parser.dump(given)).data.figures == given.data.figures


def test_state_restores_the_scale_and_refuses_other_images(images, tmp_path_factory, write_image, capsys):
    state = data(images).state_dict()
    module = data(images, top_db=-12.0)
    module.load_state_dict(state)
    assert module.scale == ImageScale(**state["scale"])
    with pytest.raises(InputError, match=r"image_size \[64, 64\]"):
        data(images, n_frames=32).load_state_dict(state)
    with pytest.raises(InputError, match="class_names"):
        data(images, labels="folder").load_state_dict(state)
    assert capsys.readouterr().out == ""
    write_image(images / "bell" / "new.png", 70)
    data(images).load_state_dict(state)
    assert "have changed" in capsys.readouterr().out
