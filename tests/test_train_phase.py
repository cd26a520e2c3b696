"""`gan train-phase` as a user runs it, small: it learns, can be heard, resumes, and leaves weights that decode."""

import inspect
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from conftest import music
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.distributions import VonMises

import gan.phase_training
from gan.commands.main import main
from gan.errors import InputError
from gan.phase_training.data import StepData
from gan.phase_training.listening import WEIGHTS, PhaseListening
from gan.phase_training.module import PhaseTraining, von_mises_loss
from gan.run import Run, newest_run
from gan.sound.phase.convergence import spectral_convergence_db
from gan.sound.phase.pghi import PGHI
from gan.sound.phase.steps import PhaseSteps
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

# Of an epoch, in place of 64: each is an STFT of up to ten seconds.
N_EXCERPTS = 8
SMALL = [
    "--data.sample_rate=8000",
    "--data.batches_per_epoch=10",
    "--data.batch_size=256",
    "--data.n_ffts=[256,512]",
    "--model.hidden=[8]",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=2",
    "--listen.every_n_epochs=1",
    "--listen.n_excerpts=2",
]
THREE_EPOCHS = [*SMALL, "--trainer.max_epochs=3", "--trainer.log_every_n_steps=1"]
RATE = 8000


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a long recording and twelve short ones in its `recordings`."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "recordings").mkdir()
    soundfile.write(folder / "recordings" / "long.wav", music(35 * RATE, sample_rate=RATE), RATE)
    for number in range(12):
        soundfile.write(folder / "recordings" / f"short_{number:02d}.flac", music(12000, number, 16000), 16000)
    return folder


@pytest.fixture
def recordings(tmp_path, written, monkeypatch):
    """A working folder with those recordings."""
    shutil.copytree(written / "recordings", tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.setattr("gan.phase_training.data._EXCERPTS_AN_EPOCH", N_EXCERPTS)
    return tmp_path / "recordings"


@pytest.fixture
def whole(recordings, written):
    """A run of three epochs that was never stopped; the two tests that ask for it share it."""
    root = written / "whole"
    if not root.exists():
        assert train("recordings", *THREE_EPOCHS, f"--trainer.default_root_dir={root}") == 0
    return newest_run(root)


def train(*arguments: str) -> int:
    try:
        return main(["train-phase", *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return PhaseSteps.load(run.folder / WEIGHTS).state_dict()


def test_a_run(recordings, capsys):
    assert train("recordings", *SMALL, "--trainer.max_epochs=4", "--data.validation_fraction=0.3") == 0
    run = newest_run(Path("runs/phase"))
    said = capsys.readouterr().out
    assert f"--phase DeepGriffinLim --phase.weights {run.folder / WEIGHTS}" in said
    assert "excerpts only listened to" in said
    events = EventAccumulator(str(run.folder), size_guidance={"scalars": 0, "audio": 0}).Reload()
    losses = [event.value for event in events.Scalars("loss/steps")]
    # A uniform phase costs 0; half of what is lost at the start is learnt in 40 batches.
    assert losses[-1] < losses[0] - 0.3
    assert [event.step for event in events.Scalars("metric/deep_5")] == [10, 20, 30, 40]
    assert len(events.Scalars("metric/pghi_0")) == 1
    assert events.Scalars("metric/deep_5")[-1].value < events.Scalars("metric/deep_0")[-1].value - 3
    assert {"audio/real_0", "audio/real_1", "audio/pghi_0_0", "audio/deep_0_0", "audio/deep_5_1"} <= set(
        events.Tags()["audio"]
    )
    assert yaml.safe_load(run.config.read_text())["data"]["recordings"] == "recordings"

    # The weights decode.
    assert main(["encode", "recordings", "images"]) == 0
    weights = ["--phase", "DeepGriffinLim", "--phase.weights", str(run.folder / WEIGHTS)]
    image = next(Path("images").rglob("*short_00*.png"))
    assert main(["decode", str(image), "-o", "own.wav", *weights]) == 0
    assert soundfile.info("own.wav").frames > 10000


def test_resuming_equals_never_having_stopped(recordings, whole):
    script = (
        "import sys, os\n"
        "import gan.phase_training.data\n"
        f"gan.phase_training.data._EXCERPTS_AN_EPOCH = {N_EXCERPTS}\n"
        "from gan.phase_training.module import PhaseTraining\n"
        "PhaseTraining.on_train_epoch_start = lambda self: os._exit(9) if self.current_epoch == 2 else None\n"
        "from gan.commands.main import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", script, "train-phase", "recordings", *THREE_EPOCHS]
    killed = subprocess.run([*command, "--trainer.default_root_dir=parts"], check=False)
    assert killed.returncode == 9
    assert train("--resume", "--trainer.default_root_dir=parts") == 0
    assert len(list(Path("parts").iterdir())) == 1
    parts = weights_of(newest_run(Path("parts")))
    for name, weight in weights_of(whole).items():
        assert torch.equal(parts[name], weight), name
    events = EventAccumulator(str(newest_run(Path("parts")).folder), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("metric/deep_5")] == [10, 20, 30]


def test_a_signal_within_an_epoch(recordings, whole, monkeypatch, capsys):
    """Ten batches an epoch; the run goes on with the fifth of the second, and nothing of it differs."""
    step = PhaseTraining.training_step

    def struck(self, batch, batch_idx):
        if self.batches_seen == 13:
            signal.raise_signal(signal.SIGTERM)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PhaseTraining, "training_step", struck)
        assert train("recordings", *THREE_EPOCHS, "--trainer.default_root_dir=parts") == 143
    said = capsys.readouterr().err
    assert "train-phase: stopped after batch 14; `gan train-phase --resume parts/" in said
    assert train("--resume", "--trainer.default_root_dir=parts") == 0
    runs = [whole, newest_run(Path("parts"))]
    expected, parts = (torch.load(run.newest_checkpoint(), weights_only=True) for run in runs)
    for name, weight in expected["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], weight), name
    assert str(expected["optimizer_states"]) == str(parts["optimizer_states"])
    assert expected["lr_schedulers"] == parts["lr_schedulers"]
    logged = [EventAccumulator(str(run.folder), size_guidance={"scalars": 0}).Reload() for run in runs]
    for tag in ("loss/steps", "metric/deep_5", "metric/pghi_0"):
        curves = [[(event.step, event.value) for event in each.Scalars(tag)] for each in logged]
        assert curves[0] == curves[1], tag
    assert len(logged[1].Scalars("loss/steps")) == 30


def test_other_recordings_are_refused_on_resume(recordings, sound, capsys):
    assert train("recordings", *SMALL, "--trainer.max_epochs=1") == 0
    soundfile.write(recordings / "new.wav", sound(9000), 22050)
    assert train("--resume", "--trainer.max_epochs=2") == 2
    assert "the run was started with 13 recordings, there are 14 now" in capsys.readouterr().err


def test_a_few_batches_are_enough(recordings):
    assert train("recordings", *SMALL, "--trainer.max_epochs=1", "--data.batches_per_epoch=1") == 0
    assert (newest_run(Path("runs/phase")).folder / WEIGHTS).exists()


def test_what_cannot_be_read_is_left_out(recordings, capsys):
    (recordings / "text.wav").write_text("no sound")
    soundfile.write(recordings / "click.wav", np.ones(100), 22050)
    assert train("recordings", *SMALL, "--trainer.max_epochs=1") == 0
    said = capsys.readouterr().err
    assert "skipped recordings/text.wav: cannot be read as sound" in said
    assert "skipped recordings/click.wav: is shorter than 512 samples" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["recordings", "--data.n_ffts=[100]"], "data.n_ffts is [100]; they must be multiples of 8"),
        (["recordings", "--data.minutes=0"], "data.minutes is 0.0; it must be above 0"),
        (["recordings", "--data.validation_fraction=1"], "it must lie between 0 and 1"),
        (["recordings", "--data.loudness_power=-1"], "data.loudness_power is -1.0; it must lie in [0, 10]"),
        (["recordings", "--data.loudness_power=1e30"], "data.loudness_power is 1e+30; it must lie in [0, 10]"),
        (["recordings", "--data.sample_rate=0"], "data.sample_rate is 0; it must lie in [1, 1000000], 22050 is usual"),
        (["recordings", "--data.sample_rate=1000000000000"], "data.sample_rate is 1000000000000; it must lie in"),
        (["recordings", "--seed_everything=-1"], "seed_everything is -1; it must lie in [0, 4294967295]"),
        (["recordings", "--model.hidden=[1000000000000000]"], "there is not enough memory; a smaller data.batch_size"),
        (["recordings", "--model.hidden=[]"], "model.hidden is []; it must be a list of numbers above 0"),
        (["recordings", "--model.lr=0"], "model.lr is 0.0; it must lie in (0, 1]"),
        (["recordings", "--model.lr=1e30"], "model.lr is 1e+30; it must lie in (0, 1], 0.005 is usual"),
        (["recordings", "--listen.n_excerpts=0"], "listen.n_excerpts is 0; it must be 1 or more"),
        (["recordings", "--listen.iterations=[-1]"], "listen.iterations is [-1]"),
        (["recordings", "--data.colour=red"], "colour"),
        (["recordings", "--trainer.max_epochs=-1"], "a training without an end has no schedule"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(recordings, capsys, arguments, message):
    assert train(*arguments[:1], *SMALL, *arguments[1:]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("gan train-phase: ")
    assert message in said
    assert not Path("runs").exists()


def test_too_little_to_learn_from(recordings, sound, capsys):
    for path in sorted(recordings.iterdir())[1:]:
        path.unlink()
    soundfile.write(recordings / "long.wav", sound(9000), 22050)
    assert train("recordings", *SMALL) == 2
    assert "too little to learn from" in capsys.readouterr().err


def test_default_config_is_complete():
    path = Path(gan.phase_training.__path__[0]) / "default.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, owner in (("data", StepData), ("model", PhaseTraining), ("listen", PhaseListening)):
        parameters = inspect.signature(owner.__init__).parameters
        assert set(config[section]) == set(parameters) - {"self", "seed"}, section
        for name, value in config[section].items():
            default = parameters[name].default
            if isinstance(default, tuple):
                default = list(default)
            assert value == (str(default) if name == "recordings" else default)


def test_the_loss_is_the_von_mises_likelihood():
    generator = torch.Generator().manual_seed(0)
    kappa = 20 * torch.rand(100, generator=generator) + 0.01
    angle, truth = (6.28 * torch.rand(100, generator=generator) for _ in range(2))
    ours = von_mises_loss(torch.polar(kappa, angle), torch.polar(torch.ones(100), truth))
    expected = -VonMises(angle, kappa, validate_args=False).log_prob(truth) - np.log(2 * np.pi)
    torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-3)


def test_cells_are_drawn_by_seed_and_epoch(recordings):
    def drawn(seed: int, epoch: int) -> list[torch.Tensor]:
        data = StepData(recordings, RATE, n_ffts=[256, 512], batch_size=100, batches_per_epoch=10, seed=seed)
        data.setup()
        return list(data.cells(epoch).tensors)

    first, again, other_epoch, other_seed = drawn(1, 0), drawn(1, 0), drawn(1, 1), drawn(2, 0)
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first[0], other_epoch[0])
    assert not torch.equal(first[0], other_seed[0])
    features, steps, weights = first
    assert features.shape == (1000, 72)
    torch.testing.assert_close(steps.abs(), torch.ones(1000, 2))
    assert float(weights.max()) == pytest.approx(1)
    assert float(weights.amax(1).min()) == pytest.approx(1)


def test_what_is_only_listened_to_is_not_learnt_from(recordings):
    data = StepData(recordings, validation_fraction=0.25)
    data.setup()
    # Of the long recording's four windows the last; of the twelve short ones every fourth.
    assert len(data.validation_excerpts) == 1 + 3
    assert len(data.excerpts) == 3 + 9
    # Windows overlap at a recording's end; here each sample is in one excerpt.
    n_samples = sum(map(len, data.excerpts + data.validation_excerpts))
    assert n_samples == pytest.approx(35 * 22050 + 12 * 12000 * 22050 / 16000, abs=12)
    for held_back in data.validation_excerpts:
        for excerpt in data.excerpts:
            n = min(len(held_back), len(excerpt))
            assert not torch.equal(held_back[:n], excerpt[:n])


def test_variants_keep_the_relation_of_magnitude_and_phase(recordings, sound):
    """Backwards, and with every second sample negated, PGHI's rule holds as well: so what is learnt is the same."""
    settings = SpectrogramSettings(22050, 512, 128, 512)
    waveform = torch.from_numpy(sound(12800))
    turned = waveform.clone()
    turned[1::2] *= -1
    levels = []
    for variant in (waveform, waveform.flip(0), turned):
        magnitude = magnitude_from_waveform(variant, settings)
        levels.append(float(spectral_convergence_db(PGHI(settings)(magnitude, 12800), magnitude, settings)))
    assert max(levels) - min(levels) < 1.5


def test_a_bad_option_is_an_input_error():
    with pytest.raises(InputError, match=r"data\.batch_size is 0; it must be above 0"):
        StepData(batch_size=0)
