"""Griffin-Lim against its theorem and against librosa's."""

import math
from collections.abc import Callable

import librosa
import numpy as np
import pytest
import torch

from gan.errors import InputError
from gan.sound.phase import consistency
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

GRID = SpectrogramSettings(n_fft=512, hop_length=128, win_length=512)
GRIDS = [
    GRID,
    SpectrogramSettings(n_fft=512, hop_length=256, win_length=512),
    SpectrogramSettings(n_fft=512, hop_length=100, win_length=400, window="hamming"),
    SpectrogramSettings(n_fft=511, hop_length=120, win_length=511),
]

Sound = Callable[..., np.ndarray]


def convergence_db(waveform: np.ndarray, magnitude: torch.Tensor, settings: SpectrogramSettings) -> float:
    """Spectral convergence by librosa alone."""
    reached = np.abs(
        librosa.stft(
            waveform,
            n_fft=settings.n_fft,
            hop_length=settings.hop_length,
            win_length=settings.win_length,
            window=settings.window,
        )
    )
    wanted = magnitude.numpy()[:, : reached.shape[1]]
    return float(20 * np.log10(np.linalg.norm(reached - wanted) / np.linalg.norm(wanted)))


@pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}")
@pytest.mark.parametrize("n_samples", [12800, 12801, 11111])
def test_without_momentum_no_iteration_makes_it_worse(
    sound: Sound, settings: SpectrogramSettings, n_samples: int
) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(n_samples)), settings)
    levels = [
        float(
            spectral_convergence_db(GriffinLim(settings, n_iter, momentum=0)(magnitude, n_samples), magnitude, settings)
        )
        for n_iter in range(13)
    ]
    assert (np.diff(levels) < 0).all()
    assert levels[12] < levels[0] - 5


class SamePhase(np.random.RandomState):
    """Gives librosa the starting phase that GriffinLim draws for a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.ours = torch.Generator().manual_seed(seed)

    def random(self, size: tuple[int, int]) -> np.ndarray:  # type: ignore[override]
        n_freqs, n_frames = size
        return torch.rand(n_frames, n_freqs, generator=self.ours).numpy().T


def librosa_griffin_lim(
    magnitude: torch.Tensor, settings: SpectrogramSettings, n_samples: int, seed: int, n_iter: int, momentum: float
) -> np.ndarray:
    return librosa.griffinlim(
        magnitude.numpy(),
        n_iter=n_iter,
        momentum=momentum,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        win_length=settings.win_length,
        window=settings.window,
        length=n_samples,
        random_state=SamePhase(seed),
    )


@pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}")
@pytest.mark.parametrize("momentum", [0.0, 0.99])
@pytest.mark.parametrize("n_iter", [1, 2, 5])
def test_iterations_are_librosas(sound: Sound, settings: SpectrogramSettings, momentum: float, n_iter: int) -> None:
    n_samples = 8000
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(n_samples)), settings)
    ours = GriffinLim(settings, n_iter, momentum, seed=5)(magnitude, n_samples).numpy()
    theirs = librosa_griffin_lim(magnitude, settings, n_samples, 5, n_iter, momentum)
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


@pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}")
def test_it_is_as_good_as_librosas(sound: Sound, settings: SpectrogramSettings) -> None:
    n_samples = 16000
    ours, theirs = [], []
    for seed in range(6):
        magnitude = magnitude_from_waveform(torch.from_numpy(sound(n_samples, seed)), settings)
        waveform = GriffinLim(settings, 32, 0.99, seed)(magnitude, n_samples).numpy()
        ours.append(convergence_db(waveform, magnitude, settings))
        other = librosa_griffin_lim(magnitude, settings, n_samples, seed, 32, 0.99)
        theirs.append(convergence_db(other, magnitude, settings))
    assert np.mean(ours) < np.mean(theirs) + 0.1
    assert np.mean(ours) < -15


def test_convergence_is_librosas(sound: Sound) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(9000)), GRID)
    waveform = sound(9000, 1)
    ours = spectral_convergence_db(torch.from_numpy(waveform), magnitude, GRID)
    assert float(ours) == pytest.approx(convergence_db(waveform, magnitude, GRID), abs=1e-4)
    # Twice the amplitude: the error is as large as what was wanted, 0 dB.
    doubled = spectral_convergence_db(2 * torch.from_numpy(sound(9000)), magnitude, GRID)
    assert float(doubled) == pytest.approx(0.0, abs=1e-4)


def test_more_iterations_and_momentum_help(sound: Sound) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(22050)), GRID)

    def level(n_iter: int, momentum: float) -> float:
        waveform = GriffinLim(GRID, n_iter, momentum)(magnitude, 22050)
        return float(spectral_convergence_db(waveform, magnitude, GRID))

    assert level(32, 0.99) < level(32, 0) - 1
    assert level(100, 0.99) < level(32, 0.99) - 1


def test_a_batch_of_one_is_the_one(sound: Sound) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(10000)), GRID)
    reconstruct = GriffinLim(GRID, 8)
    one = reconstruct(magnitude, 10000)
    torch.testing.assert_close(reconstruct(magnitude[None, None], 10000), one[None, None], atol=1e-6, rtol=0)


def test_a_batch_is_as_good_as_one_by_one(sound: Sound) -> None:
    waveforms = torch.from_numpy(
        np.stack([[sound(10000, 2 * row + column) for column in range(2)] for row in range(3)])
    )
    magnitude = magnitude_from_waveform(waveforms, GRID)
    batch = GriffinLim(GRID)(magnitude, 10000)
    assert batch.shape == (3, 2, 10000)
    together = spectral_convergence_db(batch, magnitude, GRID)
    assert together.shape == (3, 2)
    alone = []
    for row in range(3):
        for column in range(2):
            single = GriffinLim(GRID)(magnitude[row, column], 10000)
            alone.append(spectral_convergence_db(single, magnitude[row, column], GRID))
    # Each item starts from its own random phase, which is worth a dB or two on a short sound; none is left behind.
    assert float(together.mean()) == pytest.approx(float(torch.stack(alone).mean()), abs=1.5)
    assert float(together.max()) < -15


def test_the_seed_decides(sound: Sound) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(10000)), GRID)
    torch.manual_seed(1)
    first = GriffinLim(GRID, 4, seed=3)(magnitude)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, GriffinLim(GRID, 4, seed=3)(magnitude))
    assert not torch.allclose(first, GriffinLim(GRID, 4, seed=4)(magnitude), atol=1e-3)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's random numbers were used


@pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}")
@pytest.mark.parametrize("n_samples", [None, 1, 500, 5119, 5120, 5121, 6000])
def test_the_length_is_exact(sound: Sound, settings: SpectrogramSettings, n_samples: int | None) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(5120)), settings)
    waveform = GriffinLim(settings, 2)(magnitude, n_samples)
    assert waveform.dtype == torch.float32
    assert waveform.shape == (settings.n_samples(magnitude.shape[-1]) if n_samples is None else n_samples,)
    assert torch.isfinite(waveform).all()


@pytest.mark.parametrize("relaxation", [1.0, 1.2])
def test_an_accelerator_does_the_same(sound: Sound, relaxation: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs where there is no compiled loop, in pieces of an accelerator's size."""
    magnitude = magnitude_from_waveform(torch.from_numpy(np.stack([sound(10000), sound(10000, 1)])), GRID)
    magnitude[1, :, 20:30] = 0
    method = GriffinLim(GRID, 5, relaxation=relaxation)
    expected = method(magnitude, 10000)

    def restore(stft: torch.Tensor, magnitude: torch.Tensor, relaxation: float) -> None:
        consistency._restore_on_device(stft, magnitude, relaxation)

    monkeypatch.setattr(consistency, "_restore_", restore)
    monkeypatch.setattr(consistency, "_PIECE_SAMPLES", consistency._PIECE_SAMPLES_ON_DEVICE)
    torch.testing.assert_close(method(magnitude, 10000), expected, atol=1e-5, rtol=0)


def test_relaxation_is_nearer_in_the_end(sound: Sound) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(22050)), GRID)
    levels = [
        float(spectral_convergence_db(GriffinLim(GRID, 60, relaxation=relaxation)(magnitude, 22050), magnitude, GRID))
        for relaxation in (1.0, 1.2)
    ]
    assert levels[1] < levels[0] - 0.2


def test_wrong_use_is_named() -> None:
    with pytest.raises(InputError, match="n_iter is -1; it must be 0 or more"):
        GriffinLim(GRID, n_iter=-1)
    with pytest.raises(InputError, match="diverged; lower its relaxation"):
        GriffinLim(GRID, 1000, momentum=2, relaxation=1.9)(torch.ones(1, GRID.n_freqs, 50))
    for momentum in (-0.5, 2.1, math.nan):
        with pytest.raises(InputError, match=rf"momentum is {momentum}; it must lie in \[0, 2\]"):
            GriffinLim(GRID, momentum=momentum)
    with pytest.raises(InputError, match="relaxation is 2; it must lie between 0 and 2"):
        GriffinLim(GRID, relaxation=2)
    with pytest.raises(InputError, match="the magnitude has 256 frequencies; n_fft 512 has 257"):
        GriffinLim(GRID)(torch.zeros(256, 10))
