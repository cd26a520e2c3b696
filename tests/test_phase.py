"""What every phase reconstruction promises: level, length, ends, silence, blocks, and errors that say where."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound.phase import reconstructor
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.phase.pghi import PGHI, PGHIGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform, stft

GRID = SpectrogramSettings(n_fft=512, hop_length=128, win_length=512)
METHODS: list[PhaseMethod] = [GriffinLim, PGHI, PGHIGriffinLim, DeepGriffinLim]

Sound = Callable[..., np.ndarray]

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def magnitude_of(waveform: np.ndarray) -> Tensor:
    return magnitude_from_waveform(torch.from_numpy(waveform.astype(np.float32)), GRID)


def tone(n_samples: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 / GRID.sample_rate * np.arange(n_samples))


@every_method
@pytest.mark.parametrize("wrong", [float("nan"), -0.1, float("inf")])
def test_what_is_no_magnitude_is_shown(sound: Sound, method: PhaseMethod, wrong: float) -> None:
    magnitude = magnitude_of(sound(5000))
    magnitude[17, 23] = wrong
    with pytest.raises(InputError, match=rf"the magnitude is {wrong:g}\d* at frequency 17, frame 23; it must be"):
        method(GRID)(magnitude)
    batch = torch.stack([magnitude_of(sound(5000)), magnitude])
    with pytest.raises(InputError, match="frequency 17, frame 23, item 1; it must be a number of 0 or more"):
        method(GRID)(batch)


@every_method
def test_shapes_that_do_not_fit_are_named(method: PhaseMethod) -> None:
    with pytest.raises(InputError, match="the magnitude has 256 frequencies; n_fft 512 has 257"):
        method(GRID)(torch.zeros(256, 10))
    with pytest.raises(InputError, match=r"the magnitude's shape is \(257, 0\): there is nothing in it"):
        method(GRID)(torch.zeros(257, 0))
    with pytest.raises(InputError, match=r"the phase's shape is \(257, 9\); the magnitude's \(257, 10\)"):
        method(GRID)(torch.zeros(257, 10), phase=torch.zeros(257, 9))


@every_method
@pytest.mark.parametrize("n_samples", [None, 1, 500, 5119, 5120, 5121, 6000])
def test_the_length_is_exact(sound: Sound, method: PhaseMethod, n_samples: int | None) -> None:
    waveform = method(GRID)(magnitude_of(sound(5120)), n_samples)
    assert waveform.dtype == torch.float32
    assert waveform.shape == (5120 if n_samples is None else n_samples,)
    assert torch.isfinite(waveform).all()
    assert not waveform[41 * 128 :].any()  # what no frame's hop reaches


@every_method
def test_silence_is_silence(sound: Sound, method: PhaseMethod) -> None:
    assert torch.equal(method(GRID)(torch.zeros(2, 257, 30), 3800), torch.zeros(2, 3800))
    half = sound(10000)
    half[:4000] = 0
    result = method(GRID)(torch.stack([magnitude_of(half), torch.zeros(257, 79)]), 10000)
    assert not result[1].any()
    assert float(result[0, :3400].abs().max()) < 1e-3 * float(result[0].abs().max())


@every_method
def test_levels_beyond_float32s_squares(sound: Sound, method: PhaseMethod) -> None:
    """The level does not matter, be its square too small or too large for float32."""
    magnitude = magnitude_of(sound(10000))
    expected = method(GRID)(magnitude, 10000)
    for factor in (1e-30, 1e30):
        torch.testing.assert_close(method(GRID)(factor * magnitude, 10000) / factor, expected, atol=1e-4, rtol=0)


@every_method
def test_the_true_phase_gives_the_sound(sound: Sound, method: PhaseMethod) -> None:
    waveform = torch.from_numpy(sound(9000))
    spectrum = stft(waveform, GRID)
    result = method(GRID)(spectrum.abs(), 9000, spectrum.angle())
    torch.testing.assert_close(result, waveform, atol=1e-5, rtol=0)


@every_method
def test_nothing_given_is_changed(sound: Sound, method: PhaseMethod) -> None:
    magnitude, phase = magnitude_of(sound(6000)), torch.rand(257, 47)
    before = magnitude.clone(), phase.clone()
    method(GRID)(magnitude, 6000, phase)
    assert torch.equal(magnitude, before[0])
    assert torch.equal(phase, before[1])


@pytest.mark.parametrize("method", [DeepGriffinLim, PGHIGriffinLim, GriffinLim], ids=lambda method: method.__name__)
@pytest.mark.parametrize("n_samples", [128 * 100, 128 * 100 + 64, 128 * 100 + 127])
def test_no_ripple_and_no_clicks(method: PhaseMethod, n_samples: int) -> None:
    """A steady tone comes back steady, from its first sample to its last."""
    waveform = method(GRID)(magnitude_of(tone(n_samples)), n_samples).numpy()
    power = (waveform[: 128 * 100] ** 2).reshape(-1, 128)[8:-8].mean(axis=0)
    # Power as a function of the place within a hop: a window that is not undone ripples by 0.5 (-6 dB).
    ripple = np.abs(np.fft.rfft(power))[1:4] * 2 / power.sum()
    assert ripple.max() < 0.01
    assert np.abs(waveform).max() < 1.3 * np.abs(waveform[1000:-1000]).max()
    # The tone is cut off at its end, which is a click that the magnitude shows: it may be a few samples early.
    steps = np.abs(np.diff(waveform[:-16]))
    assert method is GriffinLim or steps.max() < 2.5 * steps[1000:-1000].max()


@every_method
@pytest.mark.parametrize("shape", [(3000,), (3, 3000)], ids=str)
def test_blocks_leave_no_seam(
    sound: Sound, method: PhaseMethod, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_frames = shape[-1]
    waveforms = np.stack([sound(n_frames * 128, seed) for seed in range(shape[0] if len(shape) > 1 else 1)])
    magnitude = magnitude_from_waveform(torch.from_numpy(waveforms), GRID).reshape(*shape[:-1], 257, -1)
    whole = method(GRID)(magnitude, n_frames * 128).reshape(-1, n_frames * 128)
    monkeypatch.setattr(reconstructor, "_BLOCK_FRAMES", 700)
    blocked = method(GRID)(magnitude, n_frames * 128).reshape(-1, n_frames * 128)
    assert float((blocked - whole).norm() / whole.norm()) < 1e-3
    for first in range(700, n_frames, 700):
        seam = slice(first * 128 - 1024, first * 128 + 1024)
        assert float((blocked - whole)[:, seam].norm() / whole[:, seam].norm()) < 1e-3


@pytest.mark.parametrize("n_iter", [32, 100, 300])
def test_many_iterations_leave_no_seam_either(sound: Sound, n_iter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    magnitude = magnitude_of(sound(1000 * 128))
    whole = PGHIGriffinLim(GRID, n_iter)(magnitude, 1000 * 128)
    monkeypatch.setattr(reconstructor, "_BLOCK_FRAMES", 500)
    blocked = PGHIGriffinLim(GRID, n_iter)(magnitude, 1000 * 128)
    seam = slice(500 * 128 - 1024, 500 * 128 + 1024)
    assert float((blocked - whole)[seam].norm() / whole[seam].norm()) < 0.01
