"""What a training will take."""

from pathlib import Path

import pytest
from conftest import SMALL_RUN

import train
from gan.estimate import Estimate
from gan.run import newest_run

OPTIONS = ["--data.images=images", *SMALL_RUN, "--data.batch_size=2", "--trainer.max_epochs=4"]
OPTIONS += ["--evaluate.every_n_epochs=2", "--evaluate.n_images=20", "--listen.every_n_epochs=2"]


@pytest.fixture
def estimated(in_folder_of_runs, monkeypatch):
    monkeypatch.setattr("gan.estimate._LEAST_SECONDS", 0.0)
    found = []
    lines = Estimate.lines
    monkeypatch.setattr(Estimate, "lines", lambda self: (found.append(self), lines(self))[1])

    def run(*options: str) -> Estimate:
        assert train.run_training(train.GANCLI, [*OPTIONS, "--estimate", *options]) == 0
        return found[-1]

    return run


def n_bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def test_it_says_what_a_run_takes(estimated, capsys):
    before = sorted(Path("runs").glob("*"))
    found = estimated()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[-4:]] == ["an epoch", "in all", "memory", "disk"]
    assert f"(5 batches of 2 crops, {found.batch_seconds:.3g} s each" in lines[-4]
    assert not any(line.startswith(("run:", "listen:", "epoch ")) for line in lines)
    assert sorted(Path("runs").glob("*")) == before
    assert train.run_training(train.GANCLI, OPTIONS) == 0
    run = newest_run(Path("runs")).folder
    assert found.checkpoint_bytes == pytest.approx(n_bytes(run, "checkpoints/*"), rel=0.05)
    assert found.listening_bytes == pytest.approx(n_bytes(run, "listen/**/*"), rel=0.2)
    assert found.run_bytes == pytest.approx(n_bytes(run, "**/*"), rel=0.2)
    assert found.store_bytes == n_bytes(Path("images"), ".store/*.frames")
    assert found.memory > found.batch_memory > 0


def test_parts_add_up():
    found = Estimate(10, 50, 8, 0.2, 3.0, 4.0, 10**9, 8 * 10**6, 2 * 10**6, 10**6, 500.0, 10**7, 10**9, 2 * 10**9)
    assert found.epoch_seconds == 13.0
    assert found.seconds == 134.0
    assert found.run_bytes == 3_005_000
    # Eight tenths of a GB for 1 MB each, and those that there are; but an epoch has 400.
    assert found._replace(n_batches=101).fitting_batch == 512
    assert found.fitting_batch == 256
    endless = found._replace(n_epochs=None)
    assert endless.seconds is None
    assert "in all: no end is given" in endless.lines()


def test_without_end_and_files(estimated, capsys):
    found = estimated("--trainer.max_epochs=-1", "--listen.n_kept=0")
    assert "in all: no end is given" in capsys.readouterr().out
    assert found.seconds is None
    assert found.listening_bytes == 0


def test_a_given_time_is_the_end(estimated):
    found = estimated("--trainer.max_epochs=-1", "--trainer.max_time=00:01:00:00")
    assert found.seconds == pytest.approx(3600, abs=found.epoch_seconds)
    # Unless the epochs end before it; of which there are too few to evaluate one.
    found = estimated("--trainer.max_time=00:01:00:00", "--evaluate.every_n_epochs=5")
    assert found.n_epochs == 4
    assert found.end_seconds > 0


def test_given_steps_are_the_end(estimated):
    # Two steps a batch, five batches an epoch.
    assert estimated("--trainer.max_epochs=-1", "--trainer.max_steps=24").n_epochs == 3
    found = estimated("--trainer.max_steps=1000", "--trainer.limit_train_batches=3")
    assert (found.n_epochs, found.n_batches) == (4, 3)


def test_it_is_no_way_to_go_on(in_folder_of_runs, capsys):
    assert train.run_training(train.GANCLI, ["--resume", "--estimate"]) == 2
    assert "--estimate is for a run that has not begun" in capsys.readouterr().err
