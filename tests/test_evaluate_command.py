"""`gan evaluate RUN` on the command line, small."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SMALL_RUN

import train
from gan.commands.main import main
from gan.evaluate import classifier
from gan.evaluate.classifier import open_classifier
from gan.evaluate.evaluation import Evaluation, Group, table
from gan.run import Run, newest_run
from gan.trained import load_run, open_data, untrained

SMALL = [
    *SMALL_RUN,
    "--data.images=images",
    "--data.validation_fraction=0.5",
    "--listen.n_samples=1",
    "--listen.n_references=1",
    "--evaluate.n_images=20",
]


@pytest.fixture
def here(tmp_path, write_image, monkeypatch):
    """A working folder with images of 40 recordings in two folders, half of each held out: five batches an epoch."""
    for index in range(40):
        write_image(tmp_path / "images" / ("bell", "drum")[index % 2] / f"{index:02d}.png", n_frames=64, seed=index)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def run_train(*arguments: str) -> Run:
    assert train.run_training(train.GANCLI, [*SMALL, *arguments]) == 0
    return newest_run(Path("runs"))


def test_table_and_file(here, capsys):
    run = run_train("--evaluate.every_n_epochs=2", "--trainer.max_epochs=3")
    capsys.readouterr()
    assert main(["evaluate", str(run.folder), "--n_images=24"]) == 0
    said = capsys.readouterr().out
    rows = json.loads((run.folder / "evaluation.json").read_text())
    assert list(rows) == [
        "held-out recordings",
        "the same, inverted",
        "newest, batch 15",
        "best, batch 10",
        "untrained",
        "noise",
    ]
    assert said == (
        f"{table(rows)}\nnote: only 20 images are compared at a time, so numbers are rough\n"
        f"written to {run.folder / 'evaluation.json'}\n"
    )
    data = open_data(run, run.newest_checkpoint())
    evaluation = Evaluation(data, 24)
    for name, gan in (
        ("newest, batch 15", load_run(run).gan),
        ("best, batch 10", load_run(run, run.best_checkpoint).gan),
        ("untrained", untrained(run, run.newest_checkpoint())),
    ):
        images = evaluation.samples(gan).images
        assert rows[name] == pytest.approx(evaluation.rows([Group(name, images)])[name], rel=1e-4, abs=1e-6), name
    assert rows["held-out recordings"]["frechet_mel_n20"] < rows["untrained"]["frechet_mel_n20"]

    # One checkpoint alone, and another seed.
    assert main(["evaluate", str(run.best_checkpoint), "--n_images=24", "--seed=1"]) == 0
    other = json.loads((run.folder / "evaluation.json").read_text())
    assert list(other) == ["held-out recordings", "the same, inverted", "best, batch 10", "untrained", "noise"]
    assert other["noise"]["frechet_mel_n20"] != rows["noise"]["frechet_mel_n20"]


def test_labels(here, capsys, monkeypatch):
    monkeypatch.setattr(classifier, "_N_STEPS", 30)
    run = run_train("--data.labels=folder", "--data.conditional=true", "--trainer.max_epochs=1")
    capsys.readouterr()
    assert main(["evaluate", str(run.folder), "--n_images=100"]) == 0
    said = capsys.readouterr().out
    assert "right of 20 held-out images\n" in said
    rows = json.loads((run.folder / "evaluation.json").read_text())
    data = open_data(run, run.newest_checkpoint())
    judge = open_classifier(data)  # kept, not trained again
    held_out = rows["held-out recordings"]
    assert held_out["accuracy"] == pytest.approx(judge.accuracy, abs=1e-6)
    assert {name for name in held_out if "classifier" in name or "inception" in name} == {
        "frechet_classifier_n20",
        "kernel_classifier_n20",
        "kernel_classifier_n20_deviation",
        "inception_score_n10",
        "inception_score_n10_deviation",
    }
    _, images, labels = Evaluation(data, 100, judge).samples(load_run(run).gan)
    assert labels.bincount().tolist() == [50, 50]
    with torch.no_grad():
        right = torch.cat([judge(part).argmax(1) for part in torch.split(images, 50)]) == labels
    assert rows["newest, batch 5"]["accuracy"] == pytest.approx(float(right.float().mean()))
    assert "accuracy" not in rows["noise"]


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_nothing_held_out_is_said(here, capsys):
    run = run_train("--data.validation_fraction=0", "--trainer.max_epochs=1")
    capsys.readouterr()
    assert main(["evaluate", str(run.folder)]) == 0
    said = capsys.readouterr().out
    assert "note: only 40 images are compared at a time" in said
    assert "note: too few recordings are held out to compare with them; data.validation_fraction" in said
    assert list(json.loads((run.folder / "evaluation.json").read_text())) == ["newest, batch 10", "untrained", "noise"]


def test_bad_input_is_one_line(here, capsys):
    run = run_train("--trainer.max_epochs=1")
    shutil.copy(run.newest_checkpoint(), "alone.ckpt")
    capsys.readouterr()
    damaged = run.newest_checkpoint().with_name("damaged.ckpt")
    damaged.write_bytes(run.newest_checkpoint().read_bytes()[:1000])

    def refused(*arguments: str) -> str:
        assert main(["evaluate", *arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("gan evaluate: ")
        assert said.err.count("\n") == 1
        return said.err

    assert "nowhere: no such run" in refused("nowhere")
    assert "images: no checkpoint in it" in refused("images")
    assert "nowhere.ckpt: no such checkpoint" in refused("nowhere.ckpt")
    assert "alone.ckpt: not in a run's folder" in refused("alone.ckpt")
    assert "damaged.ckpt: cannot be read as a checkpoint" in refused(str(damaged))
    for n_images in (0, 7, 10**12):
        said = refused(str(run.folder), f"--n_images={n_images}")
        assert f"n_images is {n_images}; it must lie in [20, 100000], 1000 is usual" in said
    Path("images").rename("elsewhere")
    assert "images: no such folder" in refused(str(run.folder))
    assert not (run.folder / "evaluation.json").exists()
