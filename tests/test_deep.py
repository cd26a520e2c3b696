"""The learnt start: features, steps, growth and weights, each against numbers, and the whole against PGHI."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gan.errors import InputError
from gan.sound.phase import deep
from gan.sound.phase.cells import LOWEST, level_of
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.deep import SHIPPED_WEIGHTS, DeepGriffinLim
from gan.sound.phase.growth import grow, neighbours
from gan.sound.phase.pghi import PGHI, PGHIGriffinLim
from gan.sound.phase.reconstructor import PhaseReconstructor
from gan.sound.phase.steps import PhaseSteps, features_of, true_steps
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform, stft

GRID = SpectrogramSettings(n_fft=512, hop_length=128, win_length=512)
# No phase is known when growth begins.
NOTHING = np.empty(0, np.complex64)

Sound = Callable[..., np.ndarray]


def level_db(method: PhaseReconstructor, waveform: torch.Tensor) -> float:
    magnitude = magnitude_from_waveform(waveform, method.settings)
    return float(spectral_convergence_db(method(magnitude, len(waveform)), magnitude, method.settings))


@pytest.mark.parametrize("n_fft", [256, 512, 1024])
@pytest.mark.parametrize("n_iter", [0, 1, 5, 10, 30])
def test_it_is_nearer_than_pghi(sound: Sound, n_fft: int, n_iter: int) -> None:
    """With the shipped weights, at as many iterations, on sounds that were not learnt from."""
    settings = SpectrogramSettings(n_fft=n_fft, hop_length=n_fft // 4, win_length=n_fft)
    levels = np.array(
        [
            [level_db(method(settings, n_iter), waveform) for method in (DeepGriffinLim, PGHIGriffinLim)]
            for waveform in (torch.from_numpy(sound(22050, seed)) for seed in range(3))
        ]
    )
    assert levels[:, 0].mean() < levels[:, 1].mean() - 1


@pytest.mark.parametrize(
    "settings",
    [
        SpectrogramSettings(n_fft=512, hop_length=128, win_length=512, window="hamming"),
        SpectrogramSettings(n_fft=512, hop_length=64, win_length=512),
        SpectrogramSettings(n_fft=512, hop_length=128, win_length=400),
        SpectrogramSettings(n_fft=511, hop_length=127, win_length=511),
    ],
    ids=str,
)
def test_other_grids_start_from_pghi(sound: Sound, settings: SpectrogramSettings, tmp_path: Path) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(8000)), settings)
    assert torch.equal(DeepGriffinLim(settings, 3)(magnitude), PGHIGriffinLim(settings, 3)(magnitude))
    PhaseSteps().save(tmp_path / "own.safetensors", {})
    with pytest.raises(InputError, match=r"own.safetensors: is for Hann windows of n_fft samples.*use PGHIGriffinLim"):
        DeepGriffinLim(settings, weights=tmp_path / "own.safetensors")


def test_shipped_weights_are_small_and_say_where_they_come_from() -> None:
    assert SHIPPED_WEIGHTS.stat().st_size < 100_000
    text = (SHIPPED_WEIGHTS.parent / "README.md").read_text(encoding="utf-8")
    for word in ("CC BY 3.0", "public domain", "Vibe Ace", "gan train-phase"):
        assert word in text


def test_weights_are_read_as_written(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = PhaseSteps((8, 6))
    network.save(tmp_path / "new" / "w.safetensors", {"recordings": "mine"})
    read = PhaseSteps.load(tmp_path / "new" / "w.safetensors")
    assert read.hidden == (8, 6)
    features = torch.randn(10, 72)
    assert torch.equal(read(features), network(features))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("content", [b"", b"no weights", SHIPPED_WEIGHTS.read_bytes()[:5000]])
def test_bad_weights_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.safetensors: cannot be read as weights"):
        DeepGriffinLim(GRID, weights=path)
    with pytest.raises(InputError, match=r"missing\.safetensors: cannot be read as weights"):
        DeepGriffinLim(GRID, weights=tmp_path / "missing.safetensors")
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"bad\.safetensors: holds no weights of `gan train-phase`"):
        DeepGriffinLim(GRID, weights=path)


def test_an_untrained_network_knows_pghis_slopes(sound: Sound) -> None:
    """Its steps are turned by what PGHI says, cell by cell."""
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(8000)), GRID)
    target = (magnitude / magnitude.max()).mT.contiguous()
    chosen = (target > 1e-2).numpy()
    chosen[:3] = chosen[-4:] = False
    chosen[:, :3] = chosen[:, -4:] = False
    places, _ = neighbours(chosen)
    network = PhaseSteps()
    with torch.no_grad():
        network.layers[-1].weight.zero_()
        network.layers[-1].bias.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    steps = network.steps(target, places).angle().numpy()
    level = target.double().log().numpy()
    ratio = 128 * 512 / (0.25645 * 512**2)
    in_time = ratio * (level[:, 2:] - level[:, :-2]) / 2
    in_frequency = -(level[2:] - level[:-2]) / 2 / ratio
    n, k = np.divmod(places, target.shape[1])
    expected = [
        (in_time[n, k - 1] + in_time[n + 1, k - 1]) / 2,
        (in_frequency[n - 1, k] + in_frequency[n - 1, k + 1]) / 2,
    ]
    # Differences of level beyond 60 dB are clipped.
    unclipped = np.abs(features_of(target.numpy(), np.log(target.numpy() + 1e-9), places)[:, :36]).max(axis=1) < 2
    for axis in (0, 1):
        error = np.angle(np.exp(1j * (steps[:, axis] - expected[axis])))[unclipped]
        assert np.abs(error).max() < 1e-3
    assert unclipped.mean() > 0.5


def test_features_do_not_depend_on_the_level_and_mirror_the_edges(sound: Sound) -> None:
    magnitude = magnitude_from_waveform(torch.from_numpy(sound(6000)), GRID).mT.contiguous().numpy()
    places = np.arange(magnitude.size, dtype=np.int32)
    features = features_of(magnitude, np.log(magnitude), places)
    louder = features_of(8 * magnitude, np.log(8 * magnitude), places)
    np.testing.assert_allclose(features, louder, atol=1e-4)
    np.testing.assert_allclose((features[:, 36:] ** 2).mean(axis=1), 1, rtol=1e-4)
    patch = features.reshape(*magnitude.shape, 2, 6, 6)[20, 100]
    around = magnitude[18:24, 98:104]
    expected = 0.3 * np.log(around / magnitude[20, 100]).clip(-7, 7)
    np.testing.assert_allclose(patch[0], expected, atol=1e-4)
    np.testing.assert_allclose(patch[1], around / np.sqrt((around**2).mean()), rtol=1e-4)
    # Around frequency 0 the spectrum is even; before the first frame the first one goes on.
    corner = features.reshape(*magnitude.shape, 2, 6, 6)[0, 0, 1]
    np.testing.assert_allclose(corner[:, :2], corner[:, [4, 3]])
    np.testing.assert_allclose(corner[0], corner[2])


def test_true_steps_lead_back_to_the_phase(sound: Sound) -> None:
    """Grown from the true steps, phases are the true ones, but for one turn of the whole."""
    spectrum = stft(torch.from_numpy(sound(10000)), GRID).mT.contiguous()
    steps = torch.zeros(*spectrum.shape, 2, dtype=torch.complex64)
    steps[:-1, :-1] = true_steps(spectrum)
    # The last row and column are reached from inside.
    chosen = np.zeros(spectrum.shape, bool)
    chosen[:-1, :-1] = True
    places, beside = neighbours(chosen)
    bins = torch.from_numpy(places) % 257
    of_cells = steps.view(-1, 2)[torch.from_numpy(places)]
    of_cells[:, 0] *= torch.polar(torch.ones(len(bins)), bins * (torch.pi / 2))
    magnitude = spectrum.abs().flatten()[torch.from_numpy(places)]
    grown = torch.from_numpy(grow(magnitude.numpy(), of_cells.numpy(), beside, NOTHING))
    # From the middle of the frame, where steps are counted, to its beginning.
    grown *= torch.where(bins % 2 == 0, 1.0, -1.0)
    turn = grown * spectrum.flatten()[torch.from_numpy(places)].conj() / magnitude
    assert float((turn - turn[0]).abs().max()) < 1e-2


def test_the_surer_path_is_taken() -> None:
    """Four cells in a ring of steps that do not agree: the doubtful step is overruled."""
    chosen = np.ones((2, 2), bool)
    places, beside = neighbours(chosen)
    assert places.tolist() == [0, 1, 2, 3]
    assert beside.tolist() == [[2, -1, 1, -1], [3, -1, -1, 0], [-1, 0, 3, -1], [-1, 1, -1, 2]]
    steps = np.zeros((4, 2), np.complex64)
    steps[0] = np.exp(1j * np.array([0.5, 0.3])) * [10, 10]  # to cells 2 and 1
    steps[1, 0] = 0.01 * np.exp(2.0j)  # to cell 3, doubtful
    steps[2, 1] = 10 * np.exp(0.2j)  # to cell 3
    phase = np.angle(grow(np.array([1.0, 0.9, 0.8, 0.7], np.float32), steps, beside, NOTHING))
    np.testing.assert_allclose(phase - phase[0], [0, 0.3, 0.5, 0.7], atol=2e-3)


def test_neighbours_of_islands() -> None:
    chosen = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1]], bool)
    places, beside = neighbours(chosen)
    assert places.tolist() == [0, 2, 3, 4, 8]
    assert beside.tolist() == [[2, -1, -1, -1], [-1, -1, -1, -1], [-1, 0, 3, -1], [-1, -1, -1, 2], [-1, -1, -1, -1]]
    grown = grow(np.ones(5, np.float32), np.ones((5, 2), np.complex64), beside, NOTHING)
    np.testing.assert_allclose(np.abs(grown), 1, rtol=1e-5)


def test_evidence_may_be_zero() -> None:
    """A step of no certainty at all leaves a phase, not a division by zero."""
    places, beside = neighbours(np.ones((3, 3), bool))
    grown = grow(np.ones(len(places), np.float32), np.zeros((9, 2), np.complex64), beside, NOTHING)
    assert np.isfinite(grown).all()
    np.testing.assert_allclose(np.abs(grown), 1, rtol=1e-5)


def test_a_quiet_passage_is_treated_as_a_loud_one(sound: Sound) -> None:
    """60 dB down, seconds after something loud, phases are found as well as alone."""
    n_quiet = 40000
    quiet = 1e-3 * sound(n_quiet, 1)
    both = torch.from_numpy(np.concatenate([sound(40000, 0), quiet]))
    frames = slice(-(n_quiet // 128 - 80), None)
    for method in (DeepGriffinLim(GRID, 0), PGHI(GRID)):
        levels = []
        for waveform in (both, torch.from_numpy(quiet)):
            magnitude = magnitude_from_waveform(waveform, GRID)
            reached = magnitude_from_waveform(method(magnitude, len(waveform)), GRID)[..., frames]
            wanted = magnitude[..., frames]
            levels.append(20 * float(torch.log10((reached - wanted).norm() / wanted.norm())))
        assert levels[0] < levels[1] + 1
        assert levels[0] < -20


def test_levels_below_what_is_told_from_silence() -> None:
    target = torch.full((4, 257), LOWEST / 10)
    target[1, 20] = 1.0
    features = features_of(target.numpy(), level_of(target).numpy(), np.array([277], np.int32))
    assert np.isfinite(features).all()
    assert features.min() == pytest.approx(0.3 * -7)


def test_growth_goes_on_from_what_is_known(sound: Sound) -> None:
    """A known part is kept, and the rest has the phases that it has if all is grown from the same cell."""
    spectrum = stft(torch.from_numpy(sound(10000)), GRID).mT.contiguous()
    steps = torch.zeros(*spectrum.shape, 2, dtype=torch.complex64)
    steps[:-1, :-1] = true_steps(spectrum)
    steps[..., 0] *= torch.polar(torch.ones(257), torch.arange(257) * (torch.pi / 2))
    chosen = np.zeros(spectrum.shape, bool)
    chosen[:-1, :-1] = True
    places, beside = neighbours(chosen)
    cells = torch.from_numpy(places)
    magnitude = spectrum.abs().flatten()[cells].numpy()
    true = (torch.sgn(spectrum.flatten()[cells]) * torch.where(cells % 257 % 2 == 0, 1.0, -1.0)).numpy()
    n_known = 20 * 256
    grown = grow(magnitude, steps.view(-1, 2)[cells].numpy(), beside, true[:n_known])
    np.testing.assert_allclose(grown[:n_known], true[:n_known], atol=1e-5)
    # Not only alike but for a turn: the same.
    np.testing.assert_allclose(grown, true, atol=2e-2)


def test_stretches_leave_no_seam(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = torch.from_numpy(sound(60000))
    magnitude = magnitude_from_waveform(waveform, GRID)
    method = DeepGriffinLim(GRID, n_iter=0)
    whole = method(magnitude, len(waveform))
    monkeypatch.setattr(deep, "_GROWN_FRAMES", 100)
    parts = method(magnitude, len(waveform))
    assert not torch.equal(parts, whole)
    errors = []
    for made in (whole, parts):
        reached = magnitude_from_waveform(made, GRID)
        seams = torch.cat([torch.arange(seam - 4, seam + 4) for seam in (100, 200, 300, 400)])
        error = torch.linalg.norm((reached - magnitude)[:, seams]) / torch.linalg.norm(magnitude[:, seams])
        errors.append(20 * float(error.log10()))
    assert errors[1] < errors[0] + 1.0
    assert (
        abs(float(spectral_convergence_db(parts, magnitude, GRID) - spectral_convergence_db(whole, magnitude, GRID)))
        < 1
    )
