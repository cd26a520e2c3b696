"""Which end of a picture's colours is loud, told by nulls, silence and rarity."""

import numpy as np
import pytest
import torch

from gan.data.demo import DEMO_SETTINGS, KINDS, synthesize
from gan.errors import InputError
from gan.sound.figure.colormap import NAMES
from gan.sound.figure.figure import Notes
from gan.sound.figure.polarity import loudness_of_high_values
from gan.sound.figure.shade import as_loudness
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude, magnitude_from_waveform

RATE = 22050
TIME = np.arange(RATE) / RATE
# What a picture that is read either way must show at least.
SURE = 1.0


def values_of(waveform, n_fft=512, hop_length=128, range_db=80, steps=256, rate=RATE):
    """Levels as a picture has them: in [0, 1], in the middles of equal steps."""
    settings = SpectrogramSettings(rate, n_fft, hop_length, n_fft)
    level_db = db_from_magnitude(magnitude_from_waveform(torch.as_tensor(waveform).float(), settings)).numpy()
    values = ((level_db - level_db.max()) / range_db + 1).clip(0)
    return ((np.floor(values * (steps - 1e-3)) + 0.5) / steps).astype(np.float32)


def harmonic(frequency, decay, n_overtones=6):
    waves = [np.sin(2 * np.pi * frequency * k * TIME) / k for k in range(1, n_overtones + 1)]
    return sum(waves) * np.exp(-decay * TIME)


def sounds():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(RATE)
    melody = np.concatenate([harmonic(hz, 2)[: RATE // 4] for hz in (440, 660, 880, 550)])
    melody = np.pad(melody, (0, RATE - len(melody)))
    # A buzz with two resonances, voiced and not in turn.
    voiced = TIME % 0.4 < 0.3
    buzz = sum(np.sin(2 * np.pi * 120 * k * TIME) * np.exp(-(((120 * k - 700) / 600) ** 2)) for k in range(1, 30))
    yield "noise", noise
    yield "noise that rises with frequency", np.diff(noise, prepend=0)
    yield "noise bursts", np.exp(-30 * (TIME % 0.25)) * noise
    yield "gated noise", noise * (TIME % 0.5 < 0.2)
    yield "a melody", melody
    yield "a note", harmonic(220, 3)
    yield "a low note of many overtones", harmonic(80, 1, 40)
    yield "steady tones", np.sin(2 * np.pi * 900 * TIME) + 0.3 * np.sin(2 * np.pi * 3100 * TIME)
    yield "a sweep", np.sin(2 * np.pi * (200 + 4000 * TIME) * TIME)
    yield "a voice", buzz * voiced + 0.05 * noise * ~voiced


SOUNDS = dict(sounds())


def as_read(values, name):
    """The values as they are read, and the notes."""
    notes = Notes("a.png")
    return as_loudness(values, name, 1.0, "", notes), notes


class TestSounds:
    @pytest.mark.parametrize("name", SOUNDS)
    @pytest.mark.parametrize("noise", [0, 1e-2])
    @pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 64), (2048, 512)])
    @pytest.mark.parametrize("range_db", [60])
    def test_no_grey_picture_is_read_as_its_negative(self, name, noise, n_fft, hop_length, range_db):
        waveform = SOUNDS[name] + noise * np.random.default_rng(1).standard_normal(RATE)
        values = values_of(waveform, n_fft, hop_length, range_db)
        log_odds, how = loudness_of_high_values(values)
        assert log_odds > -SURE, how
        assert loudness_of_high_values(1 - values)[0] == pytest.approx(-log_odds, abs=0.02)
        if name == "a melody":
            # Skewness alone read it as magma_r, with a confidence of 1.
            assert log_odds > SURE, how

    def test_few_are_not_told(self):
        log_odds = [
            loudness_of_high_values(values_of(waveform + noise * np.random.default_rng(1).standard_normal(RATE)))[0]
            for waveform in SOUNDS.values()
            for noise in (0, 1e-4, 1e-2)
        ]
        assert np.mean(np.array(log_odds) > SURE) > 0.9

    def test_silence_before_and_after(self):
        for name, waveform in SOUNDS.items():
            for padding in ((RATE // 2, 0), (0, RATE // 2)):
                log_odds, how = loudness_of_high_values(values_of(np.pad(waveform, padding)))
                assert log_odds > SURE, f"{name}: {how}"

    @pytest.mark.parametrize("kind", KINDS)
    def test_demo_set(self, kind):
        grid = (DEMO_SETTINGS.n_fft, DEMO_SETTINGS.hop_length)
        for seed in range(6):
            waveform = synthesize(kind, np.random.default_rng(seed))
            log_odds, how = loudness_of_high_values(values_of(waveform, *grid, rate=DEMO_SETTINGS.sample_rate))
            assert log_odds > SURE, f"{kind} {seed}: {how}"

    def test_rows_in_any_order(self):
        values = values_of(SOUNDS["noise bursts"], steps=64)
        assert loudness_of_high_values(values[::-1, ::-1])[0] == pytest.approx(loudness_of_high_values(values)[0])


class TestReading:
    @pytest.mark.parametrize("name", NAMES)
    def test_both_ways(self, name):
        values = values_of(SOUNDS["noise bursts"])
        for drawn, found in ((values, name), (1 - values, f"{name}_r")):
            read, notes = as_read(drawn, name)
            np.testing.assert_allclose(read, values, atol=1e-6)
            assert notes.findings[0].value == found
            assert notes.findings[0].confidence > 0.7
            assert notes.warnings == []

    def test_a_map_of_a_name_is_not_reversed_on_a_hunch(self):
        # Nine of ten cells are at the end that would be the quiet one: not enough for magma, enough for grey.
        values = np.full((64, 64), 1 - 1 / 512, np.float32)
        values[:6] = np.random.default_rng(0).uniform(0.1, 0.9, (6, 64))
        read, notes = as_read(values, "magma")
        np.testing.assert_array_equal(read, values)
        assert notes.findings[0].value == "magma"
        assert notes.findings[0].confidence < 0.5
        assert notes.warnings[0].startswith("is read as magma, as everyone draws it, but looks reversed (log odds of ")
        assert notes.warnings[0].endswith("): --colormap magma_r?")
        assert as_read(values, "gray")[1].findings[0].value == "gray_r"

    def test_greys_are_refused_where_signs_disagree(self):
        symmetric = np.random.default_rng(0).normal(0.5, 0.1, (200, 200)).astype(np.float32)
        with pytest.raises(
            InputError,
            match=r"a.png: whether black or white is loud cannot be told; give --colormap gray .* or gray_r \(",
        ):
            as_read(symmetric, "gray")
        assert as_read(symmetric, "viridis")[1].findings[0].value == "viridis"


def test_the_skewness_of_noise():
    # Of 10 log10 of an exponential variable: -1.1395. A step between columns of independent noise is x - (y + z) / 2:
    # -1.1395 (1 - 2 / 8) / 1.5 ** 1.5 = -0.465, and the same between rows, each with a weight of 2.5.
    level_db = 10 * np.log10(np.random.default_rng(0).exponential(size=(400, 2000)))
    values = (1 + (level_db - level_db.max()) / 120).astype(np.float32)
    _, how = loudness_of_high_values(values)
    assert how == "log odds of nulls between columns +1.2, between rows +1.2, rarity -1.4"


def test_silence_where_there_is_nothing_else():
    values = np.full((64, 64), 1 / 512, np.float32)
    values[10] = 0.9
    assert loudness_of_high_values(values) == (pytest.approx(2.4), "log odds of silence +1.4, rarity +1.0")
    assert loudness_of_high_values(1 - values)[0] == pytest.approx(-2.4)


def test_what_cannot_be_told():
    assert loudness_of_high_values(np.full((50, 50), 0.5, np.float32)) == (0.0, "not known")
