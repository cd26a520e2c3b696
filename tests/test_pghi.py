"""Phase gradient heap integration: sounds whose phase is known, and the paper's algorithm with a heap."""

import heapq
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.phase.pghi import PGHI, PGHIGriffinLim
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform, stft

GRID = SpectrogramSettings(n_fft=512, hop_length=128, win_length=512)
GRIDS = [
    GRID,
    SpectrogramSettings(n_fft=512, hop_length=64, win_length=512, window="blackman"),
    SpectrogramSettings(n_fft=512, hop_length=100, win_length=400, window="hamming"),
    SpectrogramSettings(n_fft=511, hop_length=120, win_length=511),
]

Sound = Callable[..., np.ndarray]


def phase_of(waveform: np.ndarray, settings: SpectrogramSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PGHI's phase, the true one and the magnitude, each of shape (n_frames, n_freqs)."""
    true = stft(torch.from_numpy(waveform.astype(np.float32)), settings).mT
    target = (true.abs() / true.abs().max()).contiguous()
    return PGHI(settings).start(target[None])[0].angle().numpy(), true.angle().numpy(), target.numpy()


def wrapped(angle: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * angle))


@pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}/{grid.window}")
@pytest.mark.parametrize("frequency", [500.0, 1234.5, 5000.0])
def test_a_tone_turns_by_its_frequency(settings: SpectrogramSettings, frequency: float) -> None:
    n_samples = 16000
    tone = np.sin(2 * np.pi * frequency / settings.sample_rate * np.arange(n_samples))
    phase, true, magnitude = phase_of(tone, settings)
    loud = magnitude.max(axis=0).argmax()
    inner = slice(5, -5)
    advance = np.diff(phase[inner, loud])
    expected = 2 * np.pi * frequency * settings.hop_length / settings.sample_rate
    # 0.02 of a turn a frame: the window is not quite the Gaussian that it is taken for.
    assert np.abs(wrapped(advance - expected)).max() < 0.02 * 2 * np.pi
    # Beside the loudest bin the phase is what a tone's is, too.
    beside = wrapped(
        np.diff(phase[inner, loud - 1 : loud + 2], axis=1) - np.diff(true[inner, loud - 1 : loud + 2], axis=1)
    )
    assert np.abs(beside).max() < 0.35


@pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}/{grid.window}")
def test_a_click_stays_where_it_was(settings: SpectrogramSettings) -> None:
    click = np.zeros(8000)
    click[4321] = 0.5
    phase, true, magnitude = phase_of(click, settings)
    frame = magnitude[:, 50].argmax()
    error = wrapped(np.diff(phase[frame, 10:-10]) - np.diff(true[frame, 10:-10]))
    # A sample's delay is 2 pi / n_fft a bin.
    assert np.abs(error).max() < 8 * 2 * np.pi / settings.n_fft
    waveform = PGHI(settings)(magnitude_from_waveform(torch.from_numpy(click.astype(np.float32)), settings), 8000)
    assert abs(int(waveform.abs().argmax()) - 4321) <= 8
    assert float(waveform.abs().max()) > 0.3


def heap_integrated(
    magnitude: np.ndarray, settings: SpectrogramSettings, gamma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The paper's algorithm in plain Python: a heap, and derivatives with the bins' own frequencies in them."""
    n_frames, n_freqs = magnitude.shape
    level = np.log(magnitude)
    scale = settings.hop_length * settings.n_fft / gamma
    by_time = np.zeros_like(level)
    by_time[:, 1:-1] = scale * (level[:, 2:] - level[:, :-2]) / 2
    by_time += 2 * np.pi * settings.hop_length / settings.n_fft * np.arange(n_freqs)
    by_frequency = -np.gradient(level, axis=0) / scale
    phase = np.full(level.shape, np.nan)
    first = np.unravel_index(level.argmax(), level.shape)
    phase[first] = 0.0
    heap = [(-level[first], first)]
    while heap:
        _, (n, k) = heapq.heappop(heap)
        for step_n, step_k in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            there = (n + step_n, k + step_k)
            if not (0 <= there[0] < n_frames and 0 <= there[1] < n_freqs) or not np.isnan(phase[there]):
                continue
            phase[there] = (
                phase[n, k]
                + step_n * (by_time[n, k] + by_time[there]) / 2
                + step_k * (by_frequency[n, k] + by_frequency[there]) / 2
            )
            heapq.heappush(heap, (-level[there], there))
    return phase, by_time, by_frequency


def test_it_is_the_papers_algorithm(sound: Sound) -> None:
    """Each cell continues a neighbour by the trapezoid of the derivatives; the order is as good as a heap's."""
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(10000)), GRID)
    target = (magnitude / magnitude.max()).mT.contiguous()
    by_heap, by_time, by_frequency = heap_integrated(target.double().numpy(), GRID, 0.25645 * 512**2)
    # From the window's middle to the frame's beginning.
    by_heap -= np.pi * np.arange(257)
    by_steps = PGHI(GRID, tolerance_db=200).start(target[None])[0].angle().double().numpy()
    for phase in (by_heap, by_steps):
        in_time = np.diff(phase, axis=0) - (by_time[1:] + by_time[:-1]) / 2
        in_frequency = np.diff(phase, axis=1) - (by_frequency[:, 1:] + by_frequency[:, :-1]) / 2 + np.pi
        kept = [np.abs(wrapped(error)) < 5e-3 for error in (in_time, in_frequency)]
        continued = np.zeros(phase.shape, bool)
        continued[1:] |= kept[0]
        continued[:-1] |= kept[0]
        continued[:, 1:] |= kept[1]
        continued[:, :-1] |= kept[1]
        assert continued.mean() > 0.999
        # A tree that spans all cells has one edge less than there are cells.
        assert sum(edges.sum() for edges in kept) >= 0.999 * phase.size
    levels = [
        float(
            spectral_convergence_db(GriffinLim(GRID, 0)(magnitude, 10000, torch.from_numpy(phase.T)), magnitude, GRID)
        )
        for phase in (by_heap, by_steps)
    ]
    assert levels[1] < levels[0] + 0.3


def level_db(method: Callable[..., Tensor], magnitude: Tensor, n_samples: int, settings: SpectrogramSettings) -> float:
    return float(spectral_convergence_db(method(magnitude, n_samples), magnitude, settings))


@pytest.mark.parametrize("settings", GRIDS, ids=lambda grid: f"{grid.n_fft}/{grid.hop_length}/{grid.window}")
def test_it_beats_random_phase(sound: Sound, settings: SpectrogramSettings) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(22050)), settings)
    alone = level_db(PGHI(settings), magnitude, 22050, settings)
    assert alone < level_db(GriffinLim(settings, 0), magnitude, 22050, settings) - 8
    started = level_db(PGHIGriffinLim(settings, 8), magnitude, 22050, settings)
    assert started < alone - 2
    assert started < level_db(GriffinLim(settings, 32), magnitude, 22050, settings) - 1
    assert level_db(PGHIGriffinLim(settings, 32), magnitude, 22050, settings) < started - 0.5


def test_islands_each_have_a_phase(sound: Sound) -> None:
    """Sounds with silence between them are each as near as alone."""
    waveform = np.concatenate([sound(8000, 0), np.zeros(4000, np.float32), sound(8000, 1)])
    magnitude = magnitude_from_waveform(torch.from_numpy(waveform), GRID)
    reconstruct = PGHI(GRID)
    together = reconstruct(magnitude, 20000)
    assert torch.isfinite(together).all()
    assert float(together[8600:11400].abs().max()) == 0.0
    for part in (slice(0, 8000), slice(12000, 20000)):
        alone = magnitude_from_waveform(torch.from_numpy(waveform[part]), GRID)
        reached = spectral_convergence_db(together[part], alone, GRID)
        assert float(reached) < level_db(reconstruct, alone, 8000, GRID) + 2


def test_a_flat_floor_becomes_noise_not_clicks(sound: Sound) -> None:
    """Clipped cells say nothing of the phase; as clicks they would buzz at the frame rate."""
    waveform = PGHI(GRID)(torch.full((257, 200), 0.01), 25000)
    crest = float(waveform.abs().max() / waveform.square().mean().sqrt())
    assert crest < 6  # noise of this length: 4 to 5; a row of clicks: above 10
    by_place = waveform[2560:-2560].unfold(0, 128, 128)[:-1].square().mean(0)
    assert float(by_place.max() / by_place.mean()) < 2


def test_quiet_cells_are_random_and_seeded(sound: Sound) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(8000)), GRID)
    target = (magnitude / magnitude.max()).mT[None].contiguous()
    quiet = target < 1e-2
    first, again, other = (PGHI(GRID, tolerance_db=40, seed=seed).start(target).angle() for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first[~quiet], other[~quiet])
    assert float(torch.isclose(first[quiet], other[quiet]).float().mean()) < 5e-3
    assert 0.1 < float(quiet.float().mean()) < 0.9


def test_a_batch_is_what_its_items_are(sound: Sound) -> None:
    waveforms = torch.from_numpy(np.stack([sound(6000, seed) for seed in range(5)]))
    magnitude = magnitude_from_waveform(waveforms, GRID)
    together = PGHI(GRID, tolerance_db=200)(magnitude, 6000)
    for item in range(5):
        alone = PGHI(GRID, tolerance_db=200)(magnitude[item], 6000)
        torch.testing.assert_close(together[item], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_samples", [1, 100, 128, 129])
def test_very_short_sounds(n_samples: int) -> None:
    waveform = torch.linspace(0.1, 0.2, n_samples)
    magnitude = magnitude_from_waveform(waveform, GRID)
    for reconstruct in (PGHI(GRID), PGHIGriffinLim(GRID)):
        assert reconstruct(magnitude, n_samples).shape == (n_samples,)
        assert torch.isfinite(reconstruct(magnitude, n_samples)).all()


def test_long_recordings_keep_their_phase(sound: Sound) -> None:
    """Hours of phase add up; float32 must still resolve it at the highest frequencies."""
    n_samples = 128 * 40000
    frequency = 10000.3
    tone = torch.sin(2 * math.pi * ((frequency / 22050 * torch.arange(n_samples, dtype=torch.float64)) % 1)).float()
    magnitude = magnitude_from_waveform(tone, GRID)
    waveform = PGHI(GRID)(magnitude, n_samples)
    ends = [
        float(spectral_convergence_db(part, magnitude_from_waveform(part_of, GRID), GRID))
        for part, part_of in ((waveform[1000:23000], tone[1000:23000]), (waveform[-23000:-1000], tone[-23000:-1000]))
    ]
    assert ends[1] < ends[0] + 1


def test_wrong_use_is_named() -> None:
    with pytest.raises(InputError, match="tolerance_db is 0; it must be above 0, 60 is usual"):
        PGHI(GRID, tolerance_db=0)
    with pytest.raises(InputError, match="n_iter is -1; it must be 0 or more"):
        PGHIGriffinLim(GRID, n_iter=-1)
