"""Which end of a picture's colours is loud, told by the nulls of a spectrogram."""

import numpy as np
import pytest
import torch

from gan.sound.figure.polarity import loudness_of_high_values
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude, magnitude_from_waveform

GRID = SpectrogramSettings(22050, 512, 128, 512)


def values_of(waveform, steps=256):
    """80 dB of levels as a picture has them: in [0, 1], in the middles of equal steps."""
    level_db = db_from_magnitude(magnitude_from_waveform(torch.as_tensor(waveform).float(), GRID)).numpy()
    values = (level_db - level_db.max()) / 80 + 1
    return ((np.floor(values * (steps - 1e-3)) + 0.5) / steps).astype(np.float32)


def sounds():
    rng = np.random.default_rng(0)
    time = np.arange(22050) / 22050
    yield "noise", rng.standard_normal(22050)
    yield "noise that rises with frequency", np.diff(rng.standard_normal(22051), prepend=0)[1:]
    yield "tones in faint noise", np.sin(2 * np.pi * 900 * time) + 0.01 * rng.standard_normal(22050)
    yield "decaying strokes", np.exp(-30 * (time % 0.25)) * rng.standard_normal(22050)
    yield "a sweep", np.sin(2 * np.pi * (200 + 4000 * time) * time) + 1e-3 * rng.standard_normal(22050)


@pytest.mark.parametrize(("name", "waveform"), list(sounds()))
@pytest.mark.parametrize("steps", [256, 64])
def test_sound_is_told_from_its_negative(name, waveform, steps):
    values = values_of(waveform, steps)
    loudness, how = loudness_of_high_values(values)
    assert loudness > 0.9, name
    assert how.startswith("skewness of levels -")
    assert loudness_of_high_values(1 - values)[0] < -0.9
    # Upside down and back to front it is the same.
    assert loudness_of_high_values(values[::-1, ::-1])[0] == pytest.approx(loudness, abs=1e-6)


def test_the_skewness_of_noise():
    # Of 10 log10 of an exponential variable: -1.1395. A step between columns of independent noise is x - (y + z) / 2:
    # -1.1395 (1 - 2 / 8) / 1.5 ** 1.5.
    level_db = 10 * np.log10(np.random.default_rng(0).exponential(size=(400, 2000)))
    values = (1 + (level_db - level_db.max()) / 120).astype(np.float32)
    _, how = loudness_of_high_values(values)
    assert float(how.removeprefix("skewness of levels ")) == pytest.approx(-1.1395 * 0.75 / 1.5**1.5, abs=0.02)


def test_silence_where_there_is_nothing_else():
    values = np.full((64, 64), 1 / 512, np.float32)
    values[10] = 0.9
    assert loudness_of_high_values(values) == (1.0, "98% of the cells are silence")
    assert loudness_of_high_values(1 - values)[0] == -1.0


def test_what_cannot_be_told():
    rng = np.random.default_rng(0)
    assert loudness_of_high_values(rng.normal(0.5, 0.1, (200, 200)).astype(np.float32))[0] == 0.0
    assert loudness_of_high_values(np.full((50, 50), 0.5, np.float32))[0] == 0.0
