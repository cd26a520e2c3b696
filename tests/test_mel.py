"""Mel spectrograms and back, against librosa's."""

import librosa
import numpy as np
import pytest
import torch

from gan.errors import InputError
from gan.sound.mel import magnitude_from_mel, mel_filters
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.settings import MelBands, SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

SETTINGS = SpectrogramSettings()
LIBROSA = MelBands(128, 0.0, 11025.0)
BANDS = [
    LIBROSA,
    MelBands(80, 50.0, 8000.0),
    MelBands(96, 0.0, 10000.0, htk=True, norm=None, power=1),
    MelBands(512, 0.0, 11025.0, htk=True),  # more bands than low frequencies: some are empty
]
all_bands = pytest.mark.parametrize("bands", BANDS, ids=lambda bands: f"{bands.n_mels}/{bands.norm}/{bands.power}")


@pytest.fixture
def magnitude(sound):
    return magnitude_from_waveform(torch.from_numpy(sound(2 * 22050)), SETTINGS)


def mel_of(magnitude, bands, settings=SETTINGS):
    """In amplitude units, as `magnitude_from_mel` takes it."""
    return (mel_filters(bands, settings) @ magnitude**bands.power) ** (1 / bands.power)


def decibels(error, of):
    return float(20 * torch.log10(error.norm() / of.norm()))


@all_bands
def test_filters_are_librosas(bands):
    theirs = librosa.filters.mel(
        sr=22050, n_fft=2048, n_mels=min(bands.n_mels, 128), fmin=bands.min_hz, fmax=bands.max_hz, htk=bands.htk,
        norm=bands.norm,
    )  # fmt: skip
    ours = mel_filters(MelBands(min(bands.n_mels, 128), *list(vars(bands).values())[1:]), SETTINGS)
    assert ours.dtype == torch.float32
    np.testing.assert_array_equal(ours.numpy(), theirs)


@all_bands
def test_mel_of_the_result_is_the_given_one(magnitude, bands):
    mel = mel_of(magnitude, bands)
    back = magnitude_from_mel(mel, bands, SETTINGS)
    assert back.shape == magnitude.shape
    assert back.dtype == torch.float32
    assert (back >= 0).all()
    again = mel_of(back, bands)
    assert decibels(again - mel, mel) < -50
    # Cell by cell: the weakest ones beside the loudest ones are found last.
    heard = mel > 1e-3 * mel.max()
    assert heard.float().mean() > 0.9
    error_db = 20 * torch.log10(again[heard] / mel[heard])
    assert error_db.square().mean().sqrt() < 0.5
    assert error_db.abs().quantile(0.95) < 0.05


@pytest.mark.parametrize("level", [1.0, 1e-4])
def test_nearer_than_librosas(magnitude, level):
    mel = level * mel_of(magnitude, LIBROSA)
    filters = mel_filters(LIBROSA, SETTINGS)
    ours = magnitude_from_mel(mel, LIBROSA, SETTINGS)
    theirs = torch.from_numpy(librosa.feature.inverse.mel_to_stft((mel**2).numpy(), power=2.0))
    powers = mel**2

    def residual(found):
        return float((filters @ found**2 - powers).norm() / powers.norm())

    # librosa's solver stops early, at once for quiet sounds.
    assert residual(ours) < 1e-3
    assert residual(theirs) > 1e-2
    wanted = level * magnitude
    assert decibels(ours - wanted, wanted) < decibels(theirs - wanted, wanted) - 0.5
    assert decibels(ours - wanted, wanted) < -8


def test_riffusions_grid(sound):
    settings = SpectrogramSettings(44100, 17640, 441, 4410)
    bands = MelBands(512, 0.0, 10000.0, htk=True, norm=None, power=1)
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(22050, sample_rate=44100)), settings)
    mel = mel_of(magnitude, bands, settings)
    back = magnitude_from_mel(mel, bands, settings)
    assert decibels(mel_of(back, bands, settings) - mel, mel) < -100
    heard = torch.fft.rfftfreq(17640, 1 / 44100) < 10000
    assert decibels((back - magnitude)[heard], magnitude[heard]) < -15
    assert (back[~heard] == 0).all()


def test_levels_that_no_sound_has(magnitude):
    # With many narrow bands the steps of 8 bits and their floor contradict each other: neighbours share a frequency.
    bands = MelBands(256, 0.0, 11025.0, htk=True, norm=None, power=1)
    mel = mel_of(magnitude, bands)
    level_db = 20 * torch.log10(mel / mel.max())
    steps = 10 ** ((level_db.clamp_min(-80) / 80 * 255).round() / 255 * 80 / 20)
    back = magnitude_from_mel(steps, bands, SETTINGS)
    # Plain pseudo-inverses make loud tones of that: +4 dB.
    assert decibels(mel_of(back, bands) - steps, steps) < -50


def test_a_batch_is_its_frames(magnitude):
    mel = mel_of(magnitude, LIBROSA)[:, :60]
    batch = torch.stack([mel[:, :30], mel[:, 30:]]).unsqueeze(1)
    together = magnitude_from_mel(batch, LIBROSA, SETTINGS)
    assert together.shape == (2, 1, 1025, 30)
    apart = magnitude_from_mel(mel, LIBROSA, SETTINGS)
    assert decibels(torch.cat([*together[:, 0]], dim=1) - apart, apart) < -60
    # A level that no rounding comes with changes nothing but the level.
    assert torch.equal(magnitude_from_mel(2.0**-20 * mel, LIBROSA, SETTINGS), 2.0**-20 * apart)


def test_silence_stays_silence(magnitude):
    mel = mel_of(magnitude, LIBROSA)[:, :5]
    mel[:, 2] = 0
    back = magnitude_from_mel(mel, LIBROSA, SETTINGS)
    assert (back[:, 2] == 0).all()
    assert (back.amax(0) > 0).tolist() == [True, True, False, True, True]
    assert magnitude_from_mel(mel[:, :0], LIBROSA, SETTINGS).shape == (1025, 0)


def test_sounds_better_than_the_pseudo_inverse(magnitude):
    mel = mel_of(magnitude, LIBROSA)
    clipped = (torch.linalg.pinv(mel_filters(LIBROSA, SETTINGS)) @ mel**2).clamp_min(0).sqrt()

    def heard(found):
        """What Griffin-Lim makes of it, against the sound that was."""
        reached = magnitude_from_waveform(GriffinLim(SETTINGS)(found), SETTINGS)
        return decibels(reached - magnitude, magnitude)

    assert heard(magnitude_from_mel(mel, LIBROSA, SETTINGS)) < heard(clipped) - 3


def test_what_cannot_be():
    with pytest.raises(InputError, match="n_mels is 0"):
        MelBands(0, 0.0, 8000.0)
    with pytest.raises(InputError, match=r"from 4000\.0 to 300\.0 Hz"):
        MelBands(80, 4000.0, 300.0)
    with pytest.raises(InputError, match="has 80 bands where 128 were expected"):
        magnitude_from_mel(torch.ones(80, 4), LIBROSA, SETTINGS)
    with pytest.raises(InputError, match="no mel band from 12000 to 20000 Hz has a frequency of n_fft 2048"):
        magnitude_from_mel(torch.ones(8, 4), MelBands(8, 12000.0, 20000.0), SETTINGS)
