"""Measures against numbers worked out by hand; faults made on the spot are found, and sound ones are left in peace."""

import dataclasses
import math

import pytest
import torch
from conftest import SMALL, music

from gan.listen import symptoms
from gan.listen.symptoms import Symptom
from gan.listen.traits import Traits
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.spectrogram import ImageScale, db_from_magnitude, image_from_db, magnitude_from_waveform

SCALE = ImageScale(top_db=30.0, range_db=80.0)
N_SAMPLES = 127 * SMALL.hop_length
TIME = torch.arange(N_SAMPLES) / SMALL.sample_rate
FRAME_RATE = SMALL.sample_rate / SMALL.hop_length  # 250 Hz


def sounds(n: int, first_seed: int = 0) -> torch.Tensor:
    """Chords that fall, each at its own moment."""
    return torch.stack(
        [torch.from_numpy(music(N_SAMPLES, seed, SMALL.sample_rate)).roll(311 * seed) for seed in range(n)][first_seed:]
    )


def images_of(waveforms: torch.Tensor) -> torch.Tensor:
    return image_from_db(db_from_magnitude(magnitude_from_waveform(waveforms, SMALL), top_db=None), SCALE)[:, None]


def traits(images: torch.Tensor, waveforms: torch.Tensor | None = None) -> Traits:
    return Traits.of(images, SCALE, SMALL, waveforms)


def heard(waveforms: torch.Tensor) -> Traits:
    return traits(images_of(waveforms), waveforms)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


REAL = heard(sounds(16))


def found(samples: Traits, real: Traits = REAL) -> list[str]:
    return [symptom.name for symptom in symptoms.symptoms_of_samples(samples, real)]


def test_level_is_that_of_the_mean_power():
    images = torch.full((3, 1, 64, 128), -1.0)
    images[0] = 1.0
    images[1, :, :, :64] = 0.5  # 20 dB below the top, half of the time
    assert traits(images).level_db.tolist() == pytest.approx([0.0, -20 - 10 * math.log10(2), -200.0], abs=1e-3)


def test_level_needs_no_equal_scale_for_all_frequencies():
    """The same levels, whatever the image's scale is."""
    level_db = db_from_magnitude(magnitude_from_waveform(sounds(2), SMALL), top_db=None)
    scale = ImageScale(30.0, 80.0, (-20.0,) * 64, (20.0,) * 64)  # from -80 to 40 dB
    other = Traits.of(image_from_db(level_db, scale)[:, None], scale, SMALL)
    torch.testing.assert_close(other.level_db, traits(images_of(sounds(2))).level_db, atol=1e-3, rtol=0)


def test_what_moves_and_what_is_narrow():
    images = torch.full((4, 1, 64, 128), -1.0)
    images[0, 0, 10] = 0.0
    images[1, 0, [10, 20]] = 0.0
    images[2, 0, 10, :64] = 0.0  # there for half of the time: |P - P/2| / P is 1/2 everywhere, over P at half of it
    measured = traits(images)
    assert measured.n_lines.tolist() == pytest.approx([1, 2, 1, math.inf])
    assert measured.unsteadiness.tolist() == pytest.approx([0, 0, 1, math.inf], abs=1e-6)


def test_stripes_have_their_depth():
    frames = torch.arange(128)
    ground = 0.05 * noise(1, 1, 64, 128)
    for place, period in enumerate((2, 4, 8)):
        # A cosine of 4 dB; 0.1 in an image of 80 dB.
        measured = traits(ground + 0.1 * torch.cos(2 * torch.pi * frames / period))
        assert float(measured.stripes_depth_db[0, place]) == pytest.approx(4.0, rel=0.05)
        # The ground: a bin has the window's power sum(w^2) = 3/8 n times its variance; the line (0.1 / 2 * n / 2)^2,
        # at half the frame rate four times that.
        line = (0.1 * 128 / 4) ** 2 * (4 if period == 2 else 1)
        assert float(measured.stripes_db[0, place]) == pytest.approx(
            10 * math.log10(1 + line / (0.05**2 * 48)), abs=1.0
        )
        others = [other for other in range(3) if other != place]
        assert float(measured.stripes_db[0, others].max()) < 3


def test_distances_are_those_of_the_images():
    images = torch.full((2, 1, 64, 128), -0.5)
    images[1, :, :32] = 0.5
    expected = torch.tensor([[0.0, math.sqrt(0.5)], [math.sqrt(0.5), 0.0]])
    torch.testing.assert_close(traits(images).distances, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("harmonic", [1, 2, 3])
def test_buzz_has_its_depth(harmonic):
    """Of x (1 + a cos), the squared envelope is 1 + a^2 / 2 + 2 a cos + ...

    Of noise as wide as half the sample rate, what a line is made of is the share of the band that still lies in it when
    it is shifted by the line's frequency.
    """
    frequency = harmonic * FRAME_RATE
    measured = heard(noise(16, N_SAMPLES) * (1 + 0.25 * torch.cos(2 * torch.pi * frequency * TIME)))
    expected = 0.5 / (1 + 0.25**2 / 2) * (1 - frequency / (SMALL.sample_rate / 2))
    assert float(measured.buzz_depth.mean()) == pytest.approx(expected, abs=0.04)
    assert float(measured.buzz_db.min()) > symptoms._BUZZ_RATIO_DB
    assert float(heard(noise(16, N_SAMPLES)).buzz_db.max()) == 0.0


def test_buzz_is_no_tone_and_no_beat():
    """A sine at the frame rate or at half of it is no buzz, nor are tones that beat at another rate."""
    steady = [torch.sin(2 * torch.pi * factor * FRAME_RATE * TIME) for factor in (0.5, 1.0, 4.0)]
    beat = torch.sin(2 * torch.pi * 1000 * TIME) + torch.sin(2 * torch.pi * 1137 * TIME)
    assert heard(torch.stack([*steady, beat])).buzz_db.max() == 0


def test_buzz_is_as_deep_in_what_fades():
    """A sound that is loud for a moment has a wide spectrum of its envelope, under which a line would be hidden."""
    steady = noise(16, N_SAMPLES) * (1 + 0.25 * torch.cos(2 * torch.pi * FRAME_RATE * TIME))
    measured = heard(torch.exp(-5 * TIME) * steady)
    assert float(measured.buzz_depth.mean()) == pytest.approx(float(heard(steady).buzz_depth.mean()), abs=0.03)
    assert float(measured.buzz_db.min()) > symptoms._BUZZ_RATIO_DB


def test_real_sounds_have_nothing():
    for first in range(0, 16, 4):
        assert found(heard(sounds(20 + first, 12 + first))) == []
    # Heard through the inversion of an image, too.
    waveforms = waveform_from_image(images_of(sounds(8)), SCALE, GriffinLim(SMALL, n_iter=8))
    assert found(traits(images_of(sounds(8)), waveforms)) == []


def test_silence():
    waveforms = sounds(6)
    waveforms[1:] *= 10 ** (-60 / 20)
    (symptom,) = symptoms.symptoms_of_samples(heard(waveforms), REAL)
    assert symptom.name == "silence"
    assert symptom.found.startswith("5 of 6 samples are silent: the loudest of them ")
    # Their level, within what chords differ by; the floor of the images eats the rest.
    assert 50 < float(symptom.found.split()[-6]) < 80
    assert found(traits(torch.full((6, 1, 64, 128), -1.0))) == ["silence"]


def test_quiet_recordings_may_be_quiet():
    waveforms = sounds(12)
    waveforms[::2] = 0.0
    assert found(heard(waveforms[:6]), heard(waveforms)) == []


def test_one_steady_tone():
    hum = torch.stack([torch.sin(2 * torch.pi * (100 + 50 * n) * TIME) for n in range(8)]) * 0.3 + 1e-3 * noise(
        8, N_SAMPLES
    )
    (symptom,) = symptoms.symptoms_of_samples(heard(hum), REAL)
    assert symptom.name == "steady tone"
    assert symptom.found.startswith("8 of 8 samples are one steady tone")


def test_recordings_of_steady_tones_may_be_steady():
    pitches = torch.linspace(200, 3000, 16)
    tones = 0.3 * torch.sin(2 * torch.pi * pitches[:, None] * TIME) + 1e-3 * noise(16, N_SAMPLES)
    assert found(heard(tones[1::2]), heard(tones)) == []
    assert found(heard(tones[1::2])) == ["steady tone"]


@pytest.mark.parametrize("period", [2, 4, 8])
def test_stripes(period):
    images = images_of(sounds(8))
    images[..., ::period] -= 0.3
    striped = traits(images.clamp(-1, 1))
    (symptom,) = [s for s in symptoms.symptoms_of_samples(striped, REAL) if s.name == "stripes"]
    # A pulse every `period` frames has its harmonics at 4 and 2 as well; the rate that is named is one of them.
    assert any(f"every {each} frames" in symptom.found for each in (2, 4, 8) if each <= period)
    assert found(striped, striped) == []


def test_buzz():
    swell = 1 + 0.4 * torch.cos(2 * torch.pi * FRAME_RATE * TIME)
    buzzing = traits(images_of(sounds(8)), sounds(4) * swell)
    (symptom,) = symptoms.symptoms_of_samples(buzzing, REAL)
    assert symptom.name == "buzz"
    assert "4 of 4 samples are buzzing at the rate of the frames, 250 Hz" in symptom.found
    assert found(buzzing, buzzing) == []
    # Where only images were measured nothing can be said.
    assert found(dataclasses.replace(buzzing, buzz_db=None, buzz_depth=None)) == []


@pytest.mark.parametrize(("factor", "said"), [(1.0, False), (1.9, False), (2.1, True), (8.0, True)])
def test_louder_than_full_scale(factor, said):
    """Full scale is twice the peak of the loudest real crop."""
    loudest = sounds(16).abs().max()
    played = sounds(20, 16)
    played *= factor * loudest / played.abs().amax(1, keepdim=True)
    played[3] = 0.0
    samples = traits(images_of(sounds(20, 16)), played)
    assert float(samples.peak_db.max()) == pytest.approx(20 * math.log10(factor * float(loudest)), abs=1e-3)
    assert float(samples.peak_db[3]) == -200
    symptom = symptoms.overload(samples, REAL)
    assert (symptom is not None) == said
    if symptom:
        assert (
            f"3 of 4 samples are louder than full scale, the loudest by {20 * math.log10(factor / 2):.1f} dB"
            in symptom.found
        )
    assert symptoms.overload(traits(images_of(sounds(4))), REAL) is None


def test_all_alike():
    images = images_of(sounds(8))
    same = images[3:4] + 0.02 * noise(8, 1, 64, 128)
    (symptom,) = symptoms.symptoms_of_samples(traits(same), REAL)
    assert symptom.name == "sameness"
    assert symptom.found.startswith("8 of 8 samples are nearly like another one")
    # Three sounds that come again and again.
    assert found(traits(images[[0, 1, 2, 0, 1, 2, 0, 1]] + 0.02 * noise(8, 1, 64, 128))) == ["sameness"]
    assert found(traits(images)) == []


def test_recordings_that_are_alike_may_be_alike():
    pairs = images_of(sounds(8)).repeat_interleave(2, 0) + 0.01 * noise(16, 1, 64, 128)
    real = traits(pairs)
    # Of 16 crops in pairs, another 7 hold the twin of one with a chance of 1 - (14/15)^7 = 0.38.
    assert found(traits(pairs[:8]), real) == []


def logs(loss_d: float, loss_g: float, real: float, fake: float, n: int = 50, spread: float = 0.1) -> dict:
    wobble = spread * noise(n, seed=1)
    wobble -= wobble.mean()
    return {
        "loss/discriminator": loss_d + 0 * wobble,
        "loss/generator": loss_g + 0 * wobble,
        "logits/real": real + wobble,
        "logits/fake": torch.full((n,), fake),
    }


NON_SATURATING = {"loss/discriminator": 2 * math.log(2), "loss/generator": math.log(2)}
WASSERSTEIN = {"loss/discriminator": 0.0, "loss/generator": 0.0}


def names(measured: dict, chance: dict) -> list[str]:
    return [symptom.name for symptom in symptoms.symptoms_of_losses(measured, chance)]


def test_healthy_losses():
    assert names(logs(1.2, 0.9, 0.3, -0.2), NON_SATURATING) == []
    assert names(logs(-12.0, 40.0, -28.0, -40.0), WASSERSTEIN) == []


def test_discriminator_has_won():
    assert names(logs(0.01, 6.0, 5.0, -6.0), NON_SATURATING) == ["discriminator has won"]
    limit = symptoms._WON * 2 * math.log(2)
    assert names(logs(1.01 * limit, 3.0, 4.0, -4.0), NON_SATURATING) == []
    assert names(logs(0.99 * limit, 3.0, 4.0, -4.0), NON_SATURATING) == ["discriminator has won"]
    # An end that Wasserstein's loss does not have, and a handful of batches is no epoch.
    assert names(logs(0.0, 6.0, 5.0, 4.9), WASSERSTEIN) == []
    assert names(logs(0.01, 6.0, 5.0, -6.0, n=10), NON_SATURATING) == []


def test_loss_runs_away():
    (symptom,) = symptoms.symptoms_of_losses(logs(1.0, 11 * math.log(2), 0.3, -7.6), NON_SATURATING)
    assert symptom.name == "loss runs away"
    assert symptom.found == "the generator's loss is 7.6, 11 times what it is at the start"
    assert names(logs(-40.0, 100.0, 20.0, -20.0), WASSERSTEIN) == []


def test_blind_discriminator():
    """Of 50 batches with a deviation of 0.1, the standard error is 0.1 / sqrt(50) = 0.014."""
    assert names(logs(1.386, 0.693, 0.02, 0.0), NON_SATURATING) == ["blind discriminator"]
    assert names(logs(1.386, 0.693, 0.04, 0.0), NON_SATURATING) == []
    assert names(logs(0.0, 0.0, 3.0, 3.0, spread=0.0), WASSERSTEIN) == ["blind discriminator"]
    assert names(logs(1.386, 0.693, 0.0, 0.0, n=10), NON_SATURATING) == []
    # It is not to be made stronger where its loss runs away.
    assert names(logs(90.0, 60.0, -50.0, -30.0), NON_SATURATING) == ["loss runs away"]


def test_few_crops_and_short_ones_are_not_judged():
    assert symptoms.sameness(traits(images_of(sounds(1))), REAL) is None
    short = traits(images_of(sounds(4))[..., :16])
    assert float(short.stripes_db.abs().max()) == 0.0
    assert isinstance(symptoms.silence(traits(torch.full((1, 1, 64, 128), -1.0)), REAL), Symptom)


def test_measures_beside_the_real_ones_are_curves():
    quieter = Traits.of(images_of(sounds(16)) - 2 * 20 / SCALE.range_db, SCALE, SMALL)
    curves = quieter.beside(REAL)
    assert set(curves) == {"level_db", "spread", "unsteadiness", "stripes_db"}
    assert curves["level_db"] == pytest.approx(-20, abs=0.5)
    assert REAL.beside(REAL) == pytest.approx(
        {"level_db": 0, "spread": 1, "unsteadiness": 1}
        | {"stripes_db": float(REAL.stripes_db.amax(1).median()), "buzz_db": float(REAL.buzz_db.median())}
    )
    silent = traits(torch.full((3, 1, 64, 128), -1.0)).beside(REAL)
    assert silent["spread"] == silent["unsteadiness"] == 0.0
    assert silent["level_db"] < -100
