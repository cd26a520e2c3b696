"""Crops that are cut on the device are those that are read from the store."""

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import SMALL, SMALL_RUN, music

import train
from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.data.resident import CropPlaces, ResidentCrops, fits
from gan.run import newest_run
from gan.sound.codec import Origin, encode_image
from gan.sound.spectrogram import magnitude_from_waveform

CPU = torch.device("cpu")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("normalization", ["global", "per_frequency"])
def test_they_are_the_same(tmp_path, bits, normalization):
    settings = dataclasses.replace(SMALL, bits=bits)
    for index in range(12):
        n_samples = (30 + 9 * index) * settings.hop_length
        waveform = torch.from_numpy(10 ** (-index / 10) * music(n_samples, index, settings.sample_rate))
        path = tmp_path / ("bell", "drum")[index % 2] / f"{index:02d}.png"
        encode_image(
            path,
            magnitude_from_waveform(waveform, settings),
            settings,
            Origin(f"{index}.wav", 0.0, n_samples, last=True),
        )
    module = ImageData(tmp_path, n_frames=64, batch_size=4, labels="folder", normalization=normalization)
    module.setup()
    # A short one, one that ends in the crop, and others.
    crops = [Crop(0, 0), Crop(5, 20), Crop(11, 60), Crop(7, 1), Crop(5, 3)]
    expected = module.crops().__getitems__(crops)
    found = ResidentCrops(module.crops(), CPU).batch(CropPlaces().__getitems__(crops))
    assert expected.images.std() > 0.1
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.labels, expected.labels)


def test_a_training_with_them_is_the_same(in_folder_of_runs):
    def ended(resident: str) -> dict[str, torch.Tensor]:
        options = ["--data.images=images", *SMALL_RUN, "--trainer.max_epochs=1", f"--data.resident={resident}"]
        root = f"--trainer.default_root_dir=resident_{resident}"
        assert (
            train.run_training(train.GANCLI, [*options, "--listen.n_samples=1", "--listen.n_references=1", root]) == 0
        )
        checkpoint = newest_run(Path(f"resident_{resident}")).newest_checkpoint()
        return torch.load(checkpoint, weights_only=True)["state_dict"]

    there, elsewhere = ended("true"), ended("null")
    assert all(torch.equal(there[name], value) for name, value in elsewhere.items())


def test_only_an_accelerator_has_memory_for_them(folder_of_runs, monkeypatch):
    module = ImageData(folder_of_runs / "images", n_frames=64, batch_size=4)
    module.setup()
    needed = module.store.n_bytes
    assert not fits(module.crops(), CPU)
    for free, expected in ((2 * needed, True), (2 * needed - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * needed))
        assert fits(module.crops(), torch.device("cuda")) is expected
