"""Benchmarks run from a checkout with nothing else, and tell what grows from what does not."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NARROW = ["--trainer.accelerator=cpu"]
NARROW += [f"--model.{network}.init_args.base_channels=4" for network in ("generator", "discriminator")]
SMALL = ["--data.images=images", "--data.n_frames=64", *NARROW]


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import soak

    return soak


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        # Of 9,000 epochs; what happens in the first third is the start.
        (lambda epochs, noise: 500 + 300 * (epochs < 2000) + noise, "flat"),
        (lambda epochs, noise: 500 + epochs / 500 + noise, "GROWS"),
        (lambda epochs, noise: 500 - epochs / 500 + noise, "cannot be told"),
        # Half of the time slow, in bursts as long as the parts that are compared.
        (lambda epochs, noise: 500 + 30 * (epochs // 300 % 2) + noise, "cannot be told"),
    ],
)
def test_growth_is_told_from_noise(soak, values, verdict):
    epochs = np.arange(10, 9000, 10)
    found = soak.growth(epochs, values(epochs, np.random.default_rng(0).normal(0, 1, len(epochs))))
    assert found.judged(1.0) == verdict


def test_growth_is_a_slope_with_its_error(soak):
    epochs = np.arange(1, 3001)
    found = soak.growth(epochs, 7 + 0.002 * epochs)
    assert found.slope == pytest.approx(2.0, rel=1e-3)
    assert found.error < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["soak.py", "--minutes=0.5"], ["| own MB |", "threads: ", "folder: ", "in 1,000 epochs: may grow"]),
        (
            ["store.py", "--images=300", "--against=60", "--rounds=1", "--batches=2"],
            ["| images | 60 | 300 |", "| crop", "| a picture more, MB written | 2.6"],
        ),
        (["data.py", "--rounds=1", "--seconds=0.1", "--minutes=3", "--epochs=1"], ["3 images,", "| recording |"]),
        (
            ["step.py", "--epochs=1", "--size=64x96", *NARROW, "--trainer.limit_train_batches=9"],
            ["64 images of 64 x 96, 9 batches an epoch", "| tuned |", "| example |"],
        ),
        (["scaling.py", "--rounds=1", "--batch=4", *SMALL], ["| weak |", "| two threads |"]),
    ],
    ids=lambda value: value[0] if value[0].endswith(".py") else "",
)
def test_they_run(tmp_path, write_image, command, said):
    for index in range(48):
        write_image(tmp_path / "images" / f"{index:02d}.png", n_frames=64, seed=index)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, BENCHMARKS / command[0], *command[1:]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # In the quarter of a minute that a soak has here, memory still grows, and so may anything that starts late.
    assert done.returncode in ((0, 1) if command[0] == "soak.py" else (0,)), done.stderr
    for line in said:
        assert line in done.stdout
