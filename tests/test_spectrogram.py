"""The STFT and levels against librosa's, and the settings."""

import dataclasses
import json
import warnings
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from gan.errors import InputError
from gan.sound.inversion import image_from_waveform
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import (
    ImageScale,
    db_from_image,
    db_from_magnitude,
    image_from_db,
    istft,
    magnitude_from_db,
    magnitude_from_waveform,
    overlap_add,
    squared_window_sum,
    stft,
)

GRIDS = [
    SpectrogramSettings(),
    SpectrogramSettings(n_fft=1024, hop_length=256, win_length=1024, window="hamming"),
    SpectrogramSettings(n_fft=512, hop_length=100, win_length=400, window="blackman"),
    SpectrogramSettings(n_fft=511, hop_length=128, win_length=511),
    SpectrogramSettings(n_fft=511, hop_length=77, win_length=300, window="hamming"),
    SpectrogramSettings(n_fft=256, hop_length=128, win_length=256),
]
grids = pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}/{grid.window}")
# Even and odd, multiples of a hop and not, and shorter than one window.
lengths = pytest.mark.parametrize("n_samples", [12800, 12801, 9999, 7700, 200])


def like_librosa(settings: SpectrogramSettings) -> dict[str, Any]:
    return {
        "n_fft": settings.n_fft,
        "hop_length": settings.hop_length,
        "win_length": settings.win_length,
        "window": settings.window,
        "pad_mode": "constant",
    }


def librosa_stft(waveform: np.ndarray, settings: SpectrogramSettings) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_fft=.* is too large for input signal")
        return librosa.stft(waveform, **like_librosa(settings))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def assert_near(ours: torch.Tensor, theirs: np.ndarray, relative: float = 1e-5) -> None:
    """Equal shape and equal to a part of the largest value."""
    assert ours.shape == theirs.shape
    assert np.abs(ours.numpy() - theirs).max() <= relative * np.abs(theirs).max()


@grids
@lengths
def test_stft_is_librosas(settings: SpectrogramSettings, n_samples: int) -> None:
    waveform = noise(n_samples)
    ours = stft(torch.from_numpy(waveform), settings)
    assert ours.dtype == torch.complex64
    assert ours.shape == (settings.n_freqs, settings.n_frames(n_samples))
    assert_near(ours, librosa_stft(waveform, settings))


@grids
def test_stft_of_a_batch(settings: SpectrogramSettings) -> None:
    waveforms = noise(2, 3, 5001)
    ours = stft(torch.from_numpy(waveforms), settings)
    assert_near(ours, librosa_stft(waveforms, settings))
    torch.testing.assert_close(magnitude_from_waveform(torch.from_numpy(waveforms), settings), ours.abs())


@grids
@lengths
@pytest.mark.parametrize("changed", [False, True], ids=["consistent", "inconsistent"])
def test_istft_is_librosas(settings: SpectrogramSettings, n_samples: int, changed: bool) -> None:
    spectrum = librosa_stft(noise(n_samples), settings)
    if changed:
        spectrum = spectrum * np.exp(1j * noise(*spectrum.shape)).astype(np.complex64)
    n_frames = spectrum.shape[-1]
    options = {key: value for key, value in like_librosa(settings).items() if key != "pad_mode"}
    for length in (None, n_samples, n_samples - 1, n_samples + 3 * settings.n_fft):
        ours = istft(torch.from_numpy(spectrum), settings, length)
        assert ours.shape[-1] == (settings.n_samples(n_frames) if length is None else length)
        if len(ours) == 0:
            continue  # a single frame of its own length; librosa refuses
        theirs = librosa.istft(spectrum, length=length, **options)
        # Where hardly any window reaches, both divide by nearly nothing: there the dividends are compared.
        divisor = torch.ones(len(ours))
        windows = squared_window_sum(settings, n_frames)[settings.n_fft // 2 :][: len(ours)]
        divisor[: len(windows)] = windows.clamp_max(1.0)
        assert_near(ours * divisor, theirs * divisor.numpy())


@grids
def test_istft_inverts_stft(settings: SpectrogramSettings) -> None:
    waveforms = torch.from_numpy(noise(2, 6000))
    back = istft(stft(waveforms, settings), settings, 6000)
    torch.testing.assert_close(back[:, : -settings.n_fft // 2], waveforms[:, : -settings.n_fft // 2], atol=2e-6, rtol=0)


@pytest.mark.parametrize(("frame_length", "hop_length"), [(8, 2), (7, 3), (5, 5), (4, 6)])
def test_overlap_add(frame_length: int, hop_length: int) -> None:
    frames = noise(2, 4, frame_length)
    total = np.zeros((2, 3 * hop_length + frame_length), np.float32)
    for index in range(4):
        total[:, index * hop_length : index * hop_length + frame_length] += frames[:, index]
    np.testing.assert_allclose(overlap_add(torch.from_numpy(frames), hop_length).numpy(), total, atol=1e-6)


@grids
def test_squared_window_sum_is_librosas(settings: SpectrogramSettings) -> None:
    theirs = librosa.filters.window_sumsquare(
        window=settings.window,
        n_frames=9,
        hop_length=settings.hop_length,
        win_length=settings.win_length,
        n_fft=settings.n_fft,
    )
    ours = squared_window_sum(settings, 9)
    reached = theirs > 1e-9
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.numpy()[reached], theirs[reached], rtol=1e-5, atol=1e-9)
    assert (ours > 0).all()  # it divides


@pytest.mark.parametrize("ref", [1.0, 0.01, 3.0])
@pytest.mark.parametrize("top_db", [80.0, 20.0, None])
@pytest.mark.parametrize("amin", [1e-5, 1e-3])
def test_db_is_librosas(ref: float, top_db: float | None, amin: float) -> None:
    magnitude = np.abs(noise(2, 50, 40)) ** 8
    magnitude[0, 0, :5] = [0, 1e-9, 1e-5, 1e-3, 1]
    ours = db_from_magnitude(torch.from_numpy(magnitude), ref=ref, amin=amin, top_db=top_db)
    theirs = librosa.amplitude_to_db(magnitude, ref=ref, amin=amin, top_db=top_db)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=2e-5)
    back = magnitude_from_db(ours, ref=ref)
    np.testing.assert_allclose(back.numpy(), librosa.db_to_amplitude(theirs, ref=ref), rtol=1e-5)
    kept = magnitude > (amin if top_db is None else max(amin, magnitude.max() * 10 ** (-top_db / 20)))
    np.testing.assert_allclose(back.numpy()[kept], magnitude[kept], rtol=2e-5)


def test_levels_by_hand() -> None:
    levels = db_from_magnitude(torch.tensor([1.0, 10.0, 0.1, 0.0]), top_db=None)
    torch.testing.assert_close(levels, torch.tensor([0.0, 20.0, -20.0, -100.0]))
    assert db_from_magnitude(torch.tensor([10.0, 0.0])).tolist() == [20.0, -60.0]


def test_image_by_hand() -> None:
    level_db = torch.tensor([[30.0, 10.0], [-30.0, -70.0], [-71.0, 11.0], [5.0, 5.0]])
    image = image_from_db(level_db, ImageScale(top_db=10.0, range_db=80.0))
    torch.testing.assert_close(image, torch.tensor([[1.0, 1.0], [0.0, -1.0], [-1.0, 1.0]]))


def test_image_and_db_are_inverse() -> None:
    scale = ImageScale(top_db=-3.0, range_db=60.0)
    level_db = torch.from_numpy(np.random.default_rng(0).uniform(-63, -3, (2, 3, 9, 5)).astype(np.float32))
    back = db_from_image(image_from_db(level_db, scale), scale)
    assert back.shape == level_db.shape
    torch.testing.assert_close(back[..., :-1, :], level_db[..., :-1, :], atol=1e-5, rtol=0)
    torch.testing.assert_close(back[..., -1, :], torch.full((2, 3, 5), -63.0))
    image = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (2, 1, 8, 5)).astype(np.float32))
    torch.testing.assert_close(image_from_db(db_from_image(image, scale), scale), image, atol=1e-6, rtol=0)


def test_image_per_frequency_by_hand() -> None:
    # Heard is -70 to 10 dB; [-1, 1] is -50 to -10, -100 to 0 and 9 to 21 dB.
    scale = ImageScale(10.0, 80.0, mean_db=(-30.0, -50.0, 15.0), deviation_db=(20.0 / 3, 50.0 / 3, 2.0))
    level_db = torch.tensor([[-30.0, -20.0, 0.0], [-90.0, -50.0, 11.0], [10.0, 12.0, -80.0], [5.0, 5.0, 5.0]])
    image = image_from_db(level_db, scale)
    torch.testing.assert_close(image, torch.tensor([[0.0, 0.5, 1.0], [-0.4, 0.0, 1.0], [-5 / 6, -5 / 6, -1.0]]))
    back = db_from_image(torch.tensor([[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]), scale)
    torch.testing.assert_close(back, torch.tensor([[-50.0, -10.0], [-70.0, 0.0], [9.0, 10.0], [-70.0, -70.0]]))


def test_image_and_db_per_frequency_are_inverse() -> None:
    rng = np.random.default_rng(0)
    mean_db, deviation_db = rng.uniform(-50, -20, 8), rng.uniform(1, 5, 8)
    scale = ImageScale(-3.0, 70.0, tuple(mean_db.tolist()), tuple(deviation_db.tolist()))
    low, high = mean_db - 3 * deviation_db, mean_db + 3 * deviation_db
    level_db = torch.from_numpy(rng.uniform(low[:, None], high[:, None], (2, 8, 5)).astype(np.float32))
    with_highest = torch.cat([level_db, torch.zeros(2, 1, 5)], dim=1)
    back = db_from_image(image_from_db(with_highest, scale), scale)
    torch.testing.assert_close(back[:, :-1], level_db, atol=2e-5, rtol=0)
    torch.testing.assert_close(back[:, -1], torch.full((2, 5), -73.0))


def test_image_scale_comes_back_from_json_and_old_checkpoints() -> None:
    scale = ImageScale(1.0, 70.0, (-3.25, -4.5), (1.5, 2.0))
    assert ImageScale(**json.loads(json.dumps(dataclasses.asdict(scale)))) == scale
    assert hash(ImageScale(**json.loads(json.dumps(dataclasses.asdict(scale))))) == hash(scale)
    assert ImageScale(**{"top_db": 3.0, "range_db": 60.0}) == ImageScale(3.0, 60.0)
    for wrong in ({"mean_db": (1.0,)}, {"mean_db": (1.0, 2.0), "deviation_db": (1.0,)}):
        with pytest.raises(ValueError, match="mean_db and deviation_db"):
            ImageScale(0.0, **wrong)
    with pytest.raises(ValueError, match="above 0"):
        ImageScale(0.0, mean_db=(1.0, 2.0), deviation_db=(1.0, 0.0))


@pytest.mark.parametrize(("n_fft", "hop_length", "n_edge"), [(128, 32, 2), (128, 64, 1), (128, 48, 2), (100, 32, 2)])
def test_image_of_a_cut_is_as_if_it_went_on(n_fft: int, hop_length: int, n_edge: int) -> None:
    """Of frame t, the window spans t * hop - n_fft / 2 to t * hop + n_fft / 2: n_edge of them begin before the cut."""
    settings = SpectrogramSettings(8000, n_fft, hop_length, n_fft)
    scale = ImageScale(20.0, 60.0)
    whole = torch.from_numpy(noise(40 * hop_length))[None] * torch.tensor([[1.0], [0.01]])
    image = image_from_db(db_from_magnitude(magnitude_from_waveform(whole, settings), top_db=None), scale)[:, None]
    heard = image_from_waveform(whole[:, 10 * hop_length : 30 * hop_length], settings, scale)
    assert heard.shape == (2, 1, n_fft // 2, 21)
    torch.testing.assert_close(heard[..., n_edge:-n_edge], image[..., 10 + n_edge : 31 - n_edge], atol=1e-4, rtol=0)
    for frame in range(n_edge):
        torch.testing.assert_close(heard[..., frame], heard[..., n_edge], rtol=0, atol=0)
        torch.testing.assert_close(heard[..., -1 - frame], heard[..., -1 - n_edge], rtol=0, atol=0)
    # So short that all frames reach over an end: some frame is taken all the same.
    assert image_from_waveform(whole[:, : 2 * hop_length], settings, scale).shape[-1] == 3


@pytest.mark.parametrize("range_db", [0.0, -1.0, 301.0, float("nan")])
def test_image_scale_is_checked(range_db: float) -> None:
    with pytest.raises(InputError, match=r"range_db is .* must lie in"):
        ImageScale(0.0, range_db)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample_rate": 0}, "sample_rate is 0; it must be a whole number above 0"),
        ({"n_fft": 2048.0}, "n_fft is 2048.0; it must be a whole number"),
        ({"hop_length": -1}, "hop_length is -1"),
        ({"win_length": 4096}, "win_length 4096 is longer than n_fft 2048; make it 2048"),
        ({"hop_length": 1025}, "hop_length 1025 is too long for a window of 2048.* use 512"),
        ({"win_length": 1000, "hop_length": 501}, "hop_length 501 is too long for a window of 1000.* use 250"),
        ({"window": "boxcar"}, "window is 'boxcar'; known are hann, hamming, blackman"),
        ({"floor_db": 0.0}, "floor_db is 0.0; it must lie in"),
        ({"floor_db": -301.0}, "floor_db is -301.0"),
        ({"floor_db": float("nan")}, "floor_db is nan"),
        ({"bits": 12}, "bits is 12; it must be 8 or 16"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpectrogramSettings(**wrong)


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SpectrogramSettings().n_fft = 1024  # type: ignore[misc]


def test_like_librosa_fills_as_librosa_does() -> None:
    assert SpectrogramSettings.like_librosa() == SpectrogramSettings(22050, 2048, 512, 2048)
    filled = SpectrogramSettings.like_librosa(1024, win_length=600, bits=8)
    assert filled == SpectrogramSettings(n_fft=1024, hop_length=150, win_length=600, bits=8)
    waveform = noise(5000)
    assert_near(stft(torch.from_numpy(waveform), filled), librosa.stft(waveform, n_fft=1024, win_length=600))
    assert SpectrogramSettings.like_librosa(512, 100).hop_length == 100


def test_settings_come_back_from_a_dict() -> None:
    settings = SpectrogramSettings(44100, 1000, 250, 900, "blackman", -90.5, 8)
    assert SpectrogramSettings.from_dict(settings.to_dict()) == settings
    for wrong in ({**settings.to_dict(), "sr": 1}, {"n_fft": 2048}):
        with pytest.raises(InputError, match=r"were found where .* were expected"):
            SpectrogramSettings.from_dict(wrong)


@grids
def test_counts(settings: SpectrogramSettings) -> None:
    for n_frames in (1, 2, 10):
        n_samples = settings.n_samples(n_frames)
        if n_samples:
            assert stft(torch.zeros(n_samples), settings).shape[-1] == n_frames
        assert settings.n_frames(n_samples) == n_frames
