"""Pictures of known stretches of a recording, found again; losses of known size, measured."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound import alignment
from gan.sound.alignment import align
from gan.sound.codec import decode_image, encode_image
from gan.sound.losses import Losses, losses
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.recording import read_excerpt
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude, magnitude_from_db, magnitude_from_waveform

SETTINGS = SpectrogramSettings()
SMALL = SpectrogramSettings(sample_rate=8000, n_fft=256, hop_length=64, win_length=256)
RATE = SETTINGS.sample_rate


def melody(seconds: float, sample_rate: int = RATE, seed: int = 0) -> Tensor:
    """Plucked notes of random pitch, time and loudness over quiet noise, shape (n_samples,)."""
    rng = np.random.default_rng(seed)
    waveform = 1e-4 * rng.standard_normal(round(seconds * sample_rate))
    time = np.arange(sample_rate) / sample_rate
    for _ in range(round(6 * seconds)):
        pitch, decay = 110 * 2 ** (rng.integers(0, 36) / 12), rng.uniform(3, 12)
        partials = [np.sin(2 * np.pi * pitch * k * time) / k**1.5 for k in range(1, 7)]
        note = rng.uniform(0.02, 0.2) * np.exp(-decay * time) * np.sum(partials, axis=0)
        start = rng.integers(0, len(waveform))
        waveform[start : start + sample_rate] += note[: len(waveform) - start]
    return torch.from_numpy(waveform.astype(np.float32))


def write(path: Path, waveform: Tensor, sample_rate: int = RATE) -> Path:
    soundfile.write(path, waveform.numpy(), sample_rate, "FLOAT", format="WAV")
    return path


def draw(waveform: Tensor, settings: SpectrogramSettings = SETTINGS) -> tuple[Tensor, float, float]:
    """As a figure shows it: 256 steps below the loudest cell, whose level is lost; that level; rms of the rounding."""
    level_db = db_from_magnitude(magnitude_from_waveform(waveform, settings), top_db=80.0)
    white_db = float(level_db.max())
    picture_db = torch.round((level_db - white_db) * (255 / 80)) * (80 / 255)
    return picture_db, white_db, float((picture_db + white_db - level_db).square().mean().sqrt())


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds at 22,050 Hz."""
    return write(tmp_path_factory.mktemp("reference") / "melody.wav", melody(20))


@pytest.mark.parametrize(
    ("start", "n_samples"), [(0, 20 * RATE), (0, 5 * RATE), (54321, 5 * RATE), (123456, 200_000), (331_001, 110_000)]
)
def test_a_figure_is_found_to_the_sample(recording, start, n_samples):
    excerpt = melody(20)[start : start + n_samples]
    picture_db, white_db, rounding_db = draw(excerpt)
    found = align(picture_db - 7.0, recording, SETTINGS, 80.0)
    assert abs(round(found.start_second * RATE) - start) <= 1
    assert found.offset_db == pytest.approx(white_db + 7.0, abs=0.02)
    assert 0.999 < found.match <= 1.0
    assert found.next_match is None if n_samples == 20 * RATE else found.next_match < 0.9
    lost = losses(magnitude_from_db(picture_db), excerpt, recording, found.start_second, SETTINGS, 80.0)
    assert lost.picture_db_rms == pytest.approx(rounding_db, abs=0.02)


def test_a_grid_whose_hop_does_not_divide_its_window(tmp_path):
    settings = SpectrogramSettings(sample_rate=8000, n_fft=400, hop_length=150, win_length=320, window="hamming")
    waveform = melody(8, 8000)
    picture_db, white_db, _ = draw(waveform[12345:37000], settings)
    found = align(picture_db, write(tmp_path / "a.wav", waveform, 8000), settings, 80.0)
    assert abs(round(found.start_second * 8000) - 12345) <= 1
    assert found.offset_db == pytest.approx(white_db, abs=0.02)


@pytest.mark.parametrize("noise_db", [-40.0, -20.0, 0.0])
def test_noise_in_the_picture(recording, noise_db):
    excerpt = melody(20)[54321:][: 8 * RATE]
    noise = torch.randn(len(excerpt), generator=torch.Generator().manual_seed(0))
    noisy = excerpt + noise * excerpt.square().mean().sqrt() * 10 ** (noise_db / 20)
    picture_db, white_db, _ = draw(noisy)
    found = align(picture_db, recording, SETTINGS, 80.0)
    assert abs(round(found.start_second * RATE) - 54321) <= (1 if noise_db < 0 else 8)
    assert found.offset_db == pytest.approx(white_db, abs=0.05 if noise_db < 0 else 0.5)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_recording_of_another_rate(tmp_path, rate):
    waveform = melody(12, rate)
    path = write(tmp_path / "a.wav", waveform, rate)
    # As librosa.load(offset=..., duration=...) does it: cut first, resampled then.
    start = rate * 3 + 1235
    excerpt = torch.from_numpy(soxr.resample(waveform[start : start + 5 * rate].numpy(), rate, RATE))
    picture_db, white_db, rounding_db = draw(excerpt)
    found = align(picture_db, path, SETTINGS, 80.0)
    assert abs(found.start_second - start / rate) * RATE <= 2
    assert found.offset_db == pytest.approx(white_db, abs=0.05)
    lost = losses(magnitude_from_db(picture_db), excerpt, path, found.start_second, SETTINGS, 80.0)
    assert lost.picture_db_rms == pytest.approx(rounding_db, abs=0.05)


def test_a_recording_that_ends_before_its_picture(tmp_path):
    waveform = melody(6)
    picture_db, _, _ = draw(waveform)
    path = write(tmp_path / "cut.wav", waveform[: round(5.7 * RATE)])
    found = align(picture_db, path, SETTINGS, 80.0)
    assert round(found.start_second * RATE) <= 1
    assert found.next_match is None


def test_loud_stretches_do_not_win(tmp_path):
    waveform = melody(20)
    waveform[10 * RATE :] *= 1000.0
    picture_db, _, _ = draw(waveform[54321:][: 3 * RATE])
    found = align(picture_db, write(tmp_path / "a.wav", waveform), SETTINGS, 80.0)
    assert abs(round(found.start_second * RATE) - 54321) <= 1


def test_the_right_bar_of_a_loop(tmp_path):
    """The other bars are nearly as good, and they, not the right one, may start with a frame."""
    bar, rng = melody(2), np.random.default_rng(0)
    variation = torch.from_numpy(rng.standard_normal(8 * len(bar)).astype(np.float32))
    waveform = bar.repeat(8) + 0.003 * variation
    start = 4 * len(bar) + 777
    picture_db, _, _ = draw(waveform[start:][: 3 * RATE])
    found = align(picture_db, write(tmp_path / "a.wav", waveform), SETTINGS, 80.0)
    assert abs(round(found.start_second * RATE) - start) <= 1
    assert 0.99 < found.next_match < found.match


def test_blocks_do_not_matter(recording, monkeypatch):
    picture_db, _, _ = draw(melody(20)[54321:][: 3 * RATE])
    in_blocks = align(picture_db, recording, SETTINGS, 80.0)
    monkeypatch.setattr(alignment, "_BLOCK_FRAMES", 1_000_000)
    assert align(picture_db, recording, SETTINGS, 80.0) == in_blocks


def test_every_frame_of_the_recording_is_transformed_once(recording, monkeypatch):
    monkeypatch.setattr(alignment, "_BLOCK_FRAMES", 100)
    edges = alignment._band_edges(SETTINGS.n_freqs)
    # Frames that start with the recording, not ones that are centred on its first sample.
    whole = magnitude_from_waveform(melody(20)[SETTINGS.n_fft // 2 :], SETTINGS)
    found = alignment._recording_bands_db(recording, SETTINGS, edges, None)
    assert found.shape[1] == 1 + (20 * RATE - SETTINGS.n_fft) // SETTINGS.hop_length
    # But for the first ones, whose samples before the excerpt are zeros there.
    wanted = alignment._bands_db(whole[:, 2 : found.shape[1]].square(), edges)
    torch.testing.assert_close(found[:, 2:], wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seconds", [1.0, 5.0, 15.0])
def test_another_recording_is_refused(recording, seconds):
    picture_db, _, _ = draw(melody(20, seed=1)[12345:][: round(seconds * RATE)])
    with pytest.raises(
        InputError, match=r"melody.wav: it does not hold the picture's sound: the best match, at .* s, is"
    ):
        align(picture_db, recording, SETTINGS, 80.0)


def test_a_wrong_sample_rate_is_refused(recording):
    picture_db, _, _ = draw(melody(20)[: 5 * RATE])
    with pytest.raises(InputError, match=r"settings \(sample_rate 16000, n_fft 2048, hop_length 512\)"):
        align(picture_db, recording, dataclasses.replace(SETTINGS, sample_rate=16000), 80.0)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (melody(20)[:4000], "a picture of 8 frames is too short to be found in it; 12 are needed"),
        (torch.sin(torch.arange(3 * RATE) * 0.2), "the picture is the same all along"),
        (torch.zeros(3 * RATE), "the picture is the same all along"),
    ],
)
def test_pictures_that_could_be_anywhere(recording, waveform, message):
    picture_db, _, _ = draw(waveform)
    with pytest.raises(InputError, match=message):
        align(picture_db, recording, SETTINGS, 80.0)


def test_too_few_frames_of_a_small_hop(recording):
    settings = dataclasses.replace(SETTINGS, hop_length=64)
    picture_db, _, _ = draw(melody(20)[: 31 * 64], settings)
    with pytest.raises(InputError, match="a picture of 32 frames is too short to be found in it; 40 are needed"):
        align(picture_db, recording, settings, 80.0)


def test_a_silent_recording_is_refused(tmp_path):
    picture_db, _, _ = draw(melody(3))
    with pytest.raises(InputError, match=r"best match, at .* s, is 0\.00 where 0\.55 is needed"):
        align(picture_db, write(tmp_path / "a.wav", torch.zeros(5 * RATE)), SETTINGS, 80.0)


def test_damaged_recordings_are_refused(tmp_path, write_bad_recordings: Callable[[Path], dict[str, str]]):
    picture_db, _, _ = draw(melody(3))
    for name, message in write_bad_recordings(tmp_path).items():
        with pytest.raises(InputError, match=message):
            align(picture_db, tmp_path / name, SETTINGS, 80.0)


def test_an_image_of_ours_loses_what_16_bits_lose(recording, tmp_path):
    excerpt = torch.from_numpy(read_excerpt(recording, RATE, 4.0, 5 * RATE + 123))
    encode_image(tmp_path / "a.png", magnitude_from_waveform(excerpt, SETTINGS), SETTINGS)
    magnitude, _ = decode_image(tmp_path / "a.png")
    lost = losses(magnitude, excerpt, recording, 4.0, SETTINGS, -SETTINGS.floor_db)
    step_db = -SETTINGS.floor_db / (2**16 - 1)
    assert lost.picture_db_rms == pytest.approx(step_db / math.sqrt(12), rel=0.05)
    assert lost.picture_convergence_db < -80
    assert lost.total_convergence_db < -120
    assert lost.level_db == pytest.approx(0.0, abs=1e-4)
    assert lost.below_range < 0.001


def test_losses_of_known_size(recording):
    excerpt = melody(20)[2 * RATE :][: 5 * RATE]
    magnitude = magnitude_from_waveform(excerpt, SETTINGS)
    level_db = db_from_magnitude(magnitude, amin=1e-10, top_db=None)
    noise = torch.randn(level_db.shape, generator=torch.Generator().manual_seed(0))
    # Another level than the recording's, which neither of the comparisons with the recording may see.
    picture = magnitude_from_db(level_db + 0.3 * noise - 20.0)
    decoded = 2.0 * excerpt + 0.02 * excerpt.square().mean().sqrt() * torch.randn(
        len(excerpt), generator=torch.Generator().manual_seed(1)
    )
    range_db = 60.0
    lost = losses(picture, decoded, recording, 2.0, SETTINGS, range_db)

    shown = level_db > level_db.max() - range_db
    assert lost.below_range == pytest.approx(1 - float(shown.float().mean()), abs=0.01)
    assert lost.picture_db_rms == pytest.approx(0.3 * float(shown.float().mean().sqrt()), rel=0.02)
    # Amplitudes are wrong by ln(10) / 20 of what their levels are.
    assert lost.picture_convergence_db == pytest.approx(20 * math.log10(0.3 * math.log(10) / 20), abs=0.3)
    assert lost.phase_convergence_db == pytest.approx(float(spectral_convergence_db(decoded, picture, SETTINGS)))
    assert lost.level_db == pytest.approx(20 * math.log10(2.0), abs=0.001)
    # Noise 40 dB below the sound; of that in cells louder than it only the part in phase, half of its power, counts.
    assert -43.0 < lost.total_convergence_db < -40.0


def test_a_short_waveform_is_compared_as_far_as_it_goes(recording):
    excerpt = melody(20)[2 * RATE :][: 3 * RATE]
    magnitude = magnitude_from_waveform(excerpt, SETTINGS)
    lost = losses(magnitude, excerpt[: 2 * RATE], recording, 2.0, SETTINGS, 80.0)
    assert lost.picture_db_rms < 1e-3
    assert lost.total_convergence_db < -100


def test_pictures_of_a_few_frames_are_compared_whole(tmp_path):
    waveform = melody(1, 8000)[:200]
    path = write(tmp_path / "a.wav", waveform, 8000)
    lost = losses(magnitude_from_waveform(waveform, SMALL), waveform, path, 0.0, SMALL, 80.0)
    assert lost.picture_db_rms < 1e-3


def test_silence_has_no_losses(recording):
    excerpt = melody(20)[: 2 * RATE]
    magnitude = magnitude_from_waveform(excerpt, SETTINGS)
    for picture, start in ((torch.zeros_like(magnitude), 0.0), (magnitude, 21.0)):
        with pytest.raises(InputError, match=rf"silent from {start:.2f} s on for 2.00 s; there is nothing to compare"):
            losses(picture, excerpt, recording, start, SETTINGS, 80.0)


def test_losses_in_plain_words():
    assert str(Losses(12.34567, 0.0954, -36.21, 0.314, -24.4, -24.1, 3.08)) == (
        "start     12.3457 s into the recording\n"
        "picture   0.095 dB rms (spectral convergence -36.2 dB); 31% of the recording is too quiet for it\n"
        "phase     -24.4 dB spectral convergence\n"
        "level     +3.1 dB against the recording\n"
        "in all    -24.1 dB spectral convergence"
    )
