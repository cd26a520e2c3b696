"""The notebooks as a user runs them, top to bottom, and that no result is stored in them."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode

from gan.data.crops import Crop
from gan.evaluate.features import MelStatistics
from gan.run import newest_run
from gan.sound.codec import encode_image
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_image, magnitude_from_db, magnitude_from_waveform
from gan.trained import load_run, open_data

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RATE = 16000
SECOND = 16320
"""Length of each of the four notes in samples."""


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """`execute(name, after="", **settings)`: run a copy in a folder of its own and return it.

    `NAME = ...` lines are set to the settings, and the code `after` is run last.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / ".jupyter"))

    def run(name: str, after: str = "", **settings: object) -> NotebookNode:
        folder = tmp_path / "notebooks"
        folder.mkdir(exist_ok=True)
        path = Path(shutil.copy(ROOT / "notebooks" / name, folder))
        notebook = nbformat.read(path, as_version=4)
        for setting, value in settings.items():
            replaced = 0
            for cell in notebook.cells:
                cell.source, n = re.subn(rf"^{setting} = .*$", f"{setting} = {value!r}", cell.source, flags=re.M)
                replaced += n
            assert replaced == 1, setting
        notebook.cells.append(nbformat.v4.new_code_cell(after))
        resources = {"metadata": {"path": str(folder)}}
        return NotebookClient(notebook, timeout=300, startup_timeout=120, resources=resources).execute()

    return run


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(notebook: NotebookNode, stream: str = "stdout") -> str:
    return "".join(out.text for out in outputs(notebook) if out.output_type == "stream" and out.name == stream)


def shown(notebook: NotebookNode, kind: str) -> list[str]:
    return [output.data[kind] for output in outputs(notebook) if kind in output.get("data", {})]


def players(notebook: NotebookNode) -> list[tuple[str, int, np.ndarray]]:
    """Title, sample rate and waveform of each player."""
    titles = [text.strip("*") for text in shown(notebook, "text/markdown") if text.startswith("**")]
    sounds = []
    for html in shown(notebook, "text/html"):
        (encoded,) = re.findall(r'src="data:audio/wav;base64,([^"]+)"', html)
        sounds.append(soundfile.read(io.BytesIO(base64.b64decode(encoded))))
    return [(title, rate, waveform) for title, (waveform, rate) in zip(titles, sounds, strict=True)]


def level_db(waveform: np.ndarray) -> float:
    return 20 * np.log10(np.sqrt(np.mean(waveform**2)))


def tell_samples_apart(checkpoint: Path) -> None:
    """Turn up the generator's last layer: before it has learnt something, all of its images are the same grey."""
    state = torch.load(checkpoint, weights_only=True)
    *_, last = (name for name in state["state_dict"] if re.fullmatch(r"ema\.module\..*\.weight", name))
    state["state_dict"][last] *= 5e3
    torch.save(state, checkpoint)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of two batches in it, whose samples can be told apart."""
    folder = tmp_path_factory.mktemp("trained")
    settings = SpectrogramSettings(sample_rate=8000, n_fft=128, hop_length=32, win_length=128)
    (folder / "images").mkdir()
    for seed in range(9):
        noise = torch.randn(63 * 32, generator=torch.Generator().manual_seed(seed))
        fading = 0.1 * noise * torch.exp(-torch.linspace(0, 4, len(noise)))
        encode_image(folder / "images" / f"{seed}.png", magnitude_from_waveform(fading, settings), settings)
    arguments = [
        *("--data.images=images", "--data.n_frames=64", "--data.batch_size=4", "--listen.n_samples=1"),
        *("--model.generator.init_args.base_channels=4", "--model.discriminator.init_args.base_channels=4"),
        *("--trainer.max_epochs=1", "--trainer.accelerator=cpu"),
    ]
    subprocess.run([sys.executable, ROOT / "train.py", *arguments], cwd=folder, check=True, capture_output=True)
    tell_samples_apart(newest_run(folder / "runs").newest_checkpoint())
    return folder / "runs"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_nothing_is_stored(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_listen_without_a_run(execute):
    arc = "slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.75**0.5]), torch.linspace(0, 1, 3))"
    notebook = execute("1_listen.ipynb", after=f"print('arc:', {arc}.flatten().tolist())")
    text = printed(notebook)
    assert "Warning" not in printed(notebook, "stderr")
    assert "There is no run in ../runs yet. Make one with `python train.py`" in text
    assert len(shown(notebook, "image/png")) == 5

    # The file: what its text says, and that no cell is off by more than half a step.
    assert "sample_rate: 16000\nn_fft: 1024\nhop_length: 256\nwin_length: 1024\n" in text
    error, half_step = map(float, re.findall(r"largest error: (\S+) dB, half a step: (\S+) dB", text)[0])
    assert half_step == pytest.approx(0.5 * 120 / 65535, abs=1e-5)
    assert 0.9 * half_step < error <= half_step + 1e-5

    # The sounds: one level for all of them, and convergence with the iterations.
    (_, _, recording), *others = players(notebook)
    titles = [title for title, _, _ in others]
    assert all((rate, len(waveform)) == (RATE, 4 * SECOND) for _, rate, waveform in others)
    assert np.abs(recording).max() == pytest.approx(0.41, abs=0.01)
    for title, _, waveform in others:
        # A random phase cancels part of the sound; 40 dB of range add hiss.
        if title[:2] not in ("0 ", "2 ", "40"):
            assert level_db(waveform) == pytest.approx(level_db(recording), abs=1.0), title
    assert titles[5:] == ["The recording", "80 dB", "40 dB", "All of it"]
    converged = [re.fullmatch(r"(\d+) iterations: (\S+) dB", title).groups() for title in titles[:5]]
    assert [int(count) for count, _ in converged] == [0, 2, 8, 32, 128]
    convergences = [float(value) for _, value in converged]
    assert all(np.diff(convergences) < -4)
    assert convergences[3] < -20

    # What the GAN sees: in the silence before the second note the floor is heard, 40 dB below the other one.
    assert "80 dB: 512 x 256 numbers from -1 to 1" in text
    silence = slice(SECOND - RATE // 4, SECOND - RATE // 8)
    hiss = {title: level_db(waveform[silence]) for title, _, waveform in others[6:8]}
    assert hiss["40 dB"] - hiss["80 dB"] == pytest.approx(40, abs=3)
    assert hiss["80 dB"] < -65

    # The way between two latents 60 degrees apart: at 0, 30 and 60 degrees of the circle.
    arc = json.loads(text.split("arc: ")[1])
    assert arc == pytest.approx([1, 0, 0.75**0.5, 0.5, 0.5, 0.75**0.5], abs=1e-6)


@pytest.mark.slow
def test_listen_to_a_run_and_a_recording(execute, tmp_path, sound, runs, monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    shutil.copytree(runs, tmp_path / "runs")
    song = sound(3 * 22050)
    soundfile.write(tmp_path / "song.wav", song, 22050, "FLOAT")

    notebook = execute("1_listen.ipynb", RECORDING=str(tmp_path / "song.wav"))
    assert "Warning" not in printed(notebook, "stderr")
    assert ": 2 batches seen, 8000 Hz\n" in printed(notebook)
    assert len(shown(notebook, "image/png")) == 7
    (_, rate, recording), *_, path = played = players(notebook)
    assert (rate, len(recording)) == (22050, 4 * 22050)
    assert np.abs(recording - np.pad(0.5 * song, (0, 22050))).max() < 1e-4

    samples = played[-5:-1]
    assert [title for title, _, _ in samples] == ["Sample 1", "Sample 2", "Sample 3", "Sample 4"]
    waveforms = np.array([waveform for _, rate, waveform in samples if rate == 8000])
    assert waveforms.shape == (4, 63 * 32)
    assert np.abs(waveforms).max() == pytest.approx(0.5, abs=1e-3)

    # Each sound is that of its own latent, and the way leads from the first to the second.
    trained = load_run(newest_run(runs))
    latents = torch.randn(4, trained.gan.latent_dim, generator=torch.Generator().manual_seed(0))
    made = magnitude_from_db(db_from_image(trained.gan.sample(latents)[:, 0], trained.scale))
    _, _, way = path
    heard = torch.from_numpy(np.concatenate([waveforms, way.reshape(7, 63 * 32)])).float()
    heard = magnitude_from_waveform(heard, trained.settings)
    made, heard = ((magnitude - magnitude[:4].mean(dim=0)).flatten(1) for magnitude in (made, heard))
    likeness = torch.cosine_similarity(heard[:, None], made[None], dim=-1)
    assert ((likeness[:4] > 0.3) == torch.eye(4, dtype=torch.bool)).all()
    assert (likeness[4:, 0] - likeness[4:, 1]).diff().max() < 0
    assert likeness[4, 0] > 0.3
    assert likeness[10, 1] > 0.3


STARTS = ("GriffinLim", "PGHIGriffinLim", "DeepGriffinLim")


def table_of(text: str) -> dict[str, tuple[float, float]]:
    """Convergence in dB and seconds of each method."""
    rows = re.findall(r"^(\w+(?:, \w+ iterations?)?) +(-\d+\.\d) dB +(\d+\.\d{3})$", text, flags=re.M)
    return {name: (float(convergence), float(seconds)) for name, convergence, seconds in rows}


def test_phase_without_a_run(execute):
    # Half a turn of the whole is no error.
    after = "print('kept:', [*curves.values(), float(step_error(-recording)[~quiet].max())])"
    notebook = execute("2_phase.ipynb", after=after)
    text = printed(notebook)
    assert "Warning" not in printed(notebook, "stderr")
    assert "There is no run in ../runs yet. Make one with `python train.py`" in text
    assert len(shown(notebook, "image/png")) == 3

    # The table, and that each sound is what its row says.
    table = table_of(text)
    assert list(table) == [
        "GriffinLim, 32 iterations",
        "PGHI",
        "PGHIGriffinLim, 8 iterations",
        "DeepGriffinLim, no iteration",
        "DeepGriffinLim, 8 iterations",
        "DeepGriffinLim, 30 iterations",
    ]
    (_, _, recording), *sounds, again = players(notebook)
    assert [title for title, _, _ in sounds] == [f"{name}: {table[name][0]} dB" for name in table]
    assert again[0] == "The recording"
    assert (again[2] == recording).all()
    settings = SpectrogramSettings.like_librosa(n_fft=1024, sample_rate=RATE)
    asked = magnitude_from_waveform(torch.from_numpy(recording).float(), settings)
    for (convergence, seconds), (_, rate, waveform) in zip(table.values(), sounds, strict=True):
        assert (rate, len(waveform)) == (RATE, 4 * SECOND)
        heard = spectral_convergence_db(torch.from_numpy(waveform).float(), asked, settings)
        assert float(heard) == pytest.approx(convergence, abs=0.2)
        assert 0 < seconds < 60
    griffin_lim, pghi, pghi_8, deep, deep_8, deep_30 = (convergence for convergence, _ in table.values())
    assert pghi_8 < pghi - 5
    assert deep_30 < deep_8 - 2 < deep - 7 < pghi - 10
    assert deep < griffin_lim - 5

    # The curves: the better start stays ahead, and each iteration helps.
    *curves, turned = json.loads(text.split("kept: ")[1])
    random, grown, learnt = np.array(curves)
    for curve in (random, grown, learnt):
        assert (np.diff(curve) < -0.5).all()
    assert (learnt < grown - 2).all()
    assert (grown < random - 10).all()
    assert learnt[0] == pytest.approx(deep, abs=0.06)
    assert turned < 1e-3

    # The steps: a random phase is off far, the network's less than PGHI's.
    errors = [float(error) for error in re.findall(r"off by (\S+) on average", text)]
    assert 0.7 < errors[0] < np.pi / 2
    assert errors[2] < 0.85 * errors[1] < 0.2


@pytest.mark.slow
def test_phase_of_a_sample_and_a_recording(execute, tmp_path, sound, runs, monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    shutil.copytree(runs, tmp_path / "runs")
    soundfile.write(tmp_path / "song.wav", sound(2 * 22050), 22050, "FLOAT")
    settings = {"RECORDING": str(tmp_path / "song.wav"), "SECONDS": 2.0}
    notebook = execute("2_phase.ipynb", after="print('gain:', gain, 'fullest:', fullest)", **settings)
    text = printed(notebook)
    assert "Warning" not in printed(notebook, "stderr")
    assert ": 2 batches seen, 8000 Hz\n" in text
    assert len(shown(notebook, "image/png")) == 5
    (_, rate, recording), *played = players(notebook)
    assert (rate, len(recording)) == (22050, 2 * 22050)

    # Samples stop at one place whatever the start; the recording goes on far beyond.
    rows = re.findall(r"^(samples|recording) +(\w+) +(.+) dB$", text, flags=re.M)
    assert [method for _, method, _ in rows] == [*STARTS, *STARTS]
    samples, recordings = np.array([row.split() for _, _, row in rows], float).reshape(2, 3, 4)
    assert np.ptp(samples[:, -1]) < 1
    assert (np.abs(samples[:, -1] - samples[:, -2]) < 1).all()
    assert recordings[:, -1].max() < samples[:, -1].min() - 6

    # Each sound is the sample's, as near as its title says.
    gain, fullest = re.search(r"gain: (\S+) fullest: (\d+)", text).groups()
    trained = load_run(newest_run(runs))
    latents = torch.randn(4, trained.gan.latent_dim, generator=torch.Generator().manual_seed(0))
    images = trained.gan.sample(latents)[:, 0]
    assert int(fullest) == int(images.mean((1, 2)).argmax())
    asked = float(gain) * magnitude_from_db(db_from_image(images[int(fullest)], trained.scale))
    sounds = played[-6:]
    titles = [f"{method}, {n_iter} iterations: " for n_iter in (0, 100) for method in STARTS]
    for title, (played_title, played_rate, waveform) in zip(titles, sounds, strict=True):
        assert (played_rate, len(waveform)) == (8000, 63 * 32)
        assert played_title.startswith(title)
        distance = spectral_convergence_db(torch.from_numpy(waveform).float(), asked, trained.settings)
        said = float(played_title.removeprefix(title).removesuffix(" dB"))
        assert said == pytest.approx(float(distance), abs=0.15)


# A run of two epochs on a few demo sounds.
TINY = [
    "--data.batch_size=8",
    "--data.validation_fraction=0.3",
    "--model.generator.init_args.base_channels=2",
    "--model.discriminator.init_args.base_channels=2",
    "--evaluate.every_n_epochs=100",
    "--trainer.log_every_n_steps=1",
    "--trainer.accelerator=cpu",
]


def table_in(notebook: NotebookNode) -> dict[str, dict[str, float]]:
    """The numbers of each row of `gan evaluate`'s table."""
    (text,) = [text for text in shown(notebook, "text/markdown") if text.startswith("|")]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    (_, *names), _, *numbers = lines
    values = {name: [float(cell.split(" ")[0]) if cell else np.nan for cell in cells] for name, *cells in numbers}
    return {row: {name: cells[place] for name, cells in values.items()} for place, row in enumerate(names)}


@pytest.mark.slow
def test_train_and_listen_and_evaluate_it(execute, tmp_path, monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    after = "print('kept:', [curve('loss/generator')[0], chosen, distances.tolist(), shares])"
    notebook = execute("3_train_and_listen.ipynb", N_SOUNDS=96, MAX_EPOCHS=2, OPTIONS=TINY, after=after)
    text = printed(notebook)
    assert "Warning" not in printed(notebook, "stderr")
    assert len(shown(notebook, "image/png")) == 6
    run = newest_run(tmp_path / "runs")
    assert re.search(r"^epoch 1 of 2: .* s, [0-9:]+ left, ", text, flags=re.M)
    assert f"gan sample {run.folder} --label bell" in text
    steps, epochs, distances, shares = json.loads(text.split("kept: ")[1])
    trained = load_run(run)
    assert steps == list(range(1, trained.batches_seen + 1))
    assert epochs == [0, 1]
    assert shares == pytest.approx(np.arange(7) / 6)

    # What was heard of the training, then eight kinds, the way, and three sounds beside their neighbours.
    sounds = players(notebook)
    names = [title for title, _, _ in sounds]
    assert names[:2] == ["real", "inverted"]
    assert [name.split(",")[0] for name in names[2:6]] == ["sample_0_bell"] * 2 + ["sample_1_flute"] * 2
    kinds = ["bell", "flute", "hat", "kick", "marimba", "pluck", "snare", "voice"]
    assert names[6:14] == [f"{number}: {kind}" for number, kind in enumerate(kinds)]
    assert names[14] == "From bell to kick, one after the other"
    assert len(names) == 21
    assert {rate for _, rate, _ in sounds} == {RATE}
    n_samples = 127 * 128
    assert [len(waveform) for _, _, waveform in sounds] == [n_samples] * 14 + [7 * n_samples] + [n_samples] * 6
    # The sounds are the model's own.
    latents = torch.randn(8, trained.gan.latent_dim, generator=torch.Generator().manual_seed(0))
    images = trained.gan.sample(latents, torch.arange(8))
    made = waveform_from_image(images, trained.scale, DeepGriffinLim(trained.settings, n_iter=32)).numpy()
    made = made * 0.5 / np.abs(made).max()
    for number in range(8):
        assert np.abs(sounds[6 + number][2] - made[number]).max() < 2e-4
    # No training crop is nearer than the one that is said to be the nearest.
    data = open_data(run, run.newest_checkpoint())
    embedding = MelStatistics(data.settings, data.scale, data.n_frames, texture=0.0)
    crops = data.crops()
    real = torch.cat([embedding(crops.__getitems__([Crop(index, 0)]).images) for index in data.train_images])
    nearest = torch.cdist(embedding(images).double(), real.double()).min(1).values
    assert distances == pytest.approx(nearest.tolist(), rel=1e-3)

    notebook = execute("4_evaluate.ipynb", N_IMAGES=64)
    text = printed(notebook)
    assert "Warning" not in printed(notebook, "stderr")
    assert f"{run.folder.name}: {trained.batches_seen} batches seen, checkpoints newest" in text
    assert "This run was not measured while it was trained" in text
    rows = table_in(notebook)
    assert list(rows) == ["held-out recordings", "the same, inverted", "newest", "untrained", "noise"]
    assert rows["held-out recordings"]["accuracy"] > 0.5
    assert len(shown(notebook, "image/png")) == 6


@pytest.mark.slow
def test_evaluate_without_a_run(execute, monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    after = (
        "print('kept:', [{name: float(spectrum(group.images).mean()) for name, group in groups.items()}, "
        "near.distances.tolist(), chosen, {tag: [event.step for event in events.Scalars(tag)] for tag in followed}])"
    )
    notebook = execute("4_evaluate.ipynb", N_IMAGES=64, after=after)
    text = printed(notebook)
    assert "Warning" not in printed(notebook, "stderr")
    assert len(shown(notebook, "image/png")) == 7
    rows = table_in(notebook)
    assert list(rows) == ["held-out recordings", "the same, inverted", "newest", "best", "untrained", "noise"]
    (frechet,) = [name for name in rows["noise"] if name.startswith("frechet_mel")]
    held_out, inverted, newest, _, _, noise = (row[frechet] for row in rows.values())
    assert held_out < inverted < newest < noise
    spectra, distances, chosen, followed = json.loads(text.split("kept: ")[1].replace("'", '"'))
    # The samples that are shown go from the nearest to the farthest.
    assert sorted(distances) == [distances[number] for number in np.argsort(distances)]
    assert [distances[number] for number in chosen] == sorted(distances[number] for number in chosen)
    assert distances[chosen[0]] == min(distances)
    assert distances[chosen[-1]] == max(distances)
    assert spectra["the same, inverted"] == pytest.approx(spectra["held-out recordings"], abs=1.0)
    assert all(len(steps) == 2 for steps in followed.values())
    assert len(followed) == 6
    assert [title for title, _, _ in players(notebook)] == [
        f"Sample {chosen[0]}",
        "The training crop nearest to it",
        f"Sample {chosen[3]}",
        "The training crop nearest to it",
    ]
