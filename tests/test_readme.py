"""Every command of the README, run as it stands there, in a folder of its own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import librosa
import librosa.display
import numpy as np
import pytest
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
TEXT = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line.strip() for line in re.findall(r"^    (\S.*)$", TEXT, flags=re.MULTILINE)]
# A training of minutes is cut to a few batches; nothing else is changed.
SHORT = ["--trainer.max_epochs=1", "--model.generator.init_args.base_channels=2", "--data.batch_size=2"]


def test_every_kind_of_command_is_known():
    kinds = {shlex.split(command)[0] for command in COMMANDS}
    assert kinds == {"make", "pip", "gan", "python", ".venv/bin/tensorboard"}
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_make_knows_its_targets(command):
    plan = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {"make train": "python train.py", "make test": "-m pytest"}[command]
    assert wanted in plan
    if command == "make test":
        assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def draw_figure(path: Path, waveform: np.ndarray) -> None:
    """As the question's recipe does, at a tenth of its size."""
    path.parent.mkdir(exist_ok=True)
    level_db = librosa.amplitude_to_db(np.abs(librosa.stft(waveform)))
    figure = Canvas(figsize=(20, 20), dpi=110, frameon=False)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.axis("off")
    librosa.display.specshow(level_db, sr=22050, cmap="gray", x_axis="time", y_axis="hz", ax=axes)
    figure.savefig(path, pil_kwargs={"quality": 100})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_commands_run_in_their_order(tmp_path, sound):
    for name in ("train.py", "configs", "gan", "pyproject.toml", "README.md", "LICENSE", "notebooks"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    for index in range(6):
        (tmp_path / "recordings").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "recordings" / f"{index}.flac", sound(22050 * 13, seed=index), 22050)
    for index in range(4):
        draw_figure(tmp_path / "figures" / f"song{index}.mp37.jpg", sound(22050 * 7, seed=index))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = 0
    # What comes behind `make train`, which takes minutes, waits for another run.
    first = next(index for index, command in enumerate(COMMANDS) if "train.py" in command)
    waiting = [command for command in COMMANDS[:first] if "runs/NAME" in command]
    for command in [command for command in COMMANDS if command not in waiting] + waiting:
        words = shlex.split(command)
        if words[0] == "make" or "tensorboard" in words[0]:  # the one above; in a browser, tests/test_tensorboard.py
            continue
        if words[0] == "pip":
            words += ["--dry-run", "--no-deps", "--no-build-isolation", "--quiet"]
        elif words[:2] == ["python", "train.py"] and not {"--help", "--resume"} & set(words):
            words += SHORT
        elif words[:2] == ["gan", "train-phase"]:
            words += ["--trainer.max_epochs=1", "--data.batches_per_epoch=5"]
        if "runs/NAME" in words:
            words[words.index("runs/NAME")] = str(max((tmp_path / "runs").glob("2*")))
        result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}: {result.stdout[-2000:]} {result.stderr[-2000:]}"
        ran += 1
    assert ran >= 8
    assert len(list((tmp_path / "runs" / "phase").glob("*/phase_steps.safetensors"))) == 1
    decoded = sorted((tmp_path / "decoded").glob("*.wav"))
    assert len(decoded) == 6
    assert all(soundfile.info(path).duration == pytest.approx(13, abs=0.001) for path in decoded)
    heard = sorted((tmp_path / "heard").glob("*.wav"))
    assert len(heard) == 4
    # Whole frames of it: no picture says how many samples there were.
    assert all(soundfile.info(path).duration == pytest.approx(7, abs=512 / 22050) for path in heard)
    assert len(list((tmp_path / "heard").glob("*.report.png"))) == 4
    assert soundfile.info(max((tmp_path / "runs").glob("2*/samples")) / "epoch_0000_seed_0000_60s.wav").duration == 60
    for program in PROGRAMS:
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    assert len(list(tmp_path.glob("new_*.wav"))) == 4
