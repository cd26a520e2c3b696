"""Runs that are stopped at every kind of moment and gone on with, as often as one likes: nothing of them is lost."""

import os
import signal
from pathlib import Path

import pytest
from conftest import SMALL_RUN
from restarts import Trainings, contents

from gan.run import Run, newest_run

# Five batches an epoch.
EPOCH, N_EPOCHS = 5, 3
PLAIN = [
    "--data.images=images",
    *SMALL_RUN,
    "--trainer.log_every_n_steps=1",
    f"--trainer.max_epochs={N_EPOCHS}",
    "--listen.n_samples=2",
    "--listen.n_references=1",
    "--watchdog.grace_batches=0",
    "--evaluate.every_n_epochs=2",
    "--evaluate.n_images=20",
    "--checkpoint.every_minutes=0",
    "--seed_everything=5",
]
# Steps of the generator and of the augmentation that do not fall on the ends of epochs.
CONDITIONAL = [
    *PLAIN,
    "--data.labels=^([ab])",
    "--data.conditional=true",
    "--data.num_workers=2",
    "--model.augment=gan.model.augment.Augment",
    "--model.augment.init_args.probability=0.5",
    "--model.augment.init_args.images_to_certainty=400",
    "--model.n_discriminator_steps=2",
]
KINDS = {"plain": PLAIN, "conditional": CONDITIONAL}
CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_image):
    folder = tmp_path_factory.mktemp("restarts")
    for index in range(4 * EPOCH + 2):
        write_image(folder / "images" / f"{'ab'[index % 2]}{index:02d}.png", n_frames=64, seed=index)
    return folder


@pytest.fixture(scope="module")
def trainings(folder):
    trainings = Trainings(folder)
    yield trainings
    trainings.close()


@pytest.fixture(scope="module")
def unstopped(folder, trainings):
    """`unstopped(kind, *more)`: what a run that is never stopped ends with."""
    known = {}

    def run(kind: str, *more: str) -> dict[str, str]:
        if (kind, *more) not in known:
            root = folder / "-".join(["unstopped", kind, *more]).replace("=", "_")
            assert trainings.run(*KINDS[kind], *more, f"--trainer.default_root_dir={root}") == 0, trainings.said
            known[kind, *more] = contents(newest_run(root))
        return known[kind, *more]

    return run


@pytest.fixture
def root(folder, request):
    return folder / request.node.name


def differing(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    return [name for name in sorted(found.keys() | expected.keys()) if found.get(name) != expected.get(name)]


def go(trainings: Trainings, kind: str, root: Path, strikes: list[dict], *more: str, **request: object) -> Run:
    """A run that is struck each time that it is started, until it ends."""
    beginning = [*KINDS[kind], *more]
    for strike in strikes:
        code = trainings.run(*beginning, f"--trainer.default_root_dir={root}", **strike, **request)
        assert code == CODES[strike["number"]], (strike, trainings.said.read_text())
        beginning = ["--resume"]
    assert trainings.run(*beginning, f"--trainer.default_root_dir={root}", **request) == 0, trainings.said.read_text()
    (folder,) = root.iterdir()
    run = Run(folder)
    names = {path.name for path in run.checkpoint_folder.iterdir()} - {"best.ckpt"}
    assert names == {"epoch_0001.ckpt", "epoch_0002.ckpt"}
    return run


# At each of these moments of a run, in turn.
MANY = [
    {"strike": {"step": 3}, "number": "SIGKILL"},
    {"strike": {"step": 5}, "number": "SIGTERM"},  # an epoch's last batch
    {"strike": {"step": 7}, "number": "SIGINT"},
    {"strike": {"saving": 9}, "number": "SIGKILL"},
    {"strike": {"listening": 10}, "number": "SIGKILL"},
    {"strike": {"saving": 10}, "number": "SIGKILL"},
    {"strike": {"pruning": 2}, "number": "SIGKILL"},
]


def test_a_run_that_is_stopped_again_and_again(trainings, unstopped, root):
    assert not differing(contents(go(trainings, "plain", root, MANY)), unstopped("plain"))


def test_a_signal_to_those_who_prepare_batches_too(trainings, unstopped, root):
    strikes = [{"strike": {"step": step}, "number": number} for step, number in ((4, "SIGINT"), (8, "SIGTERM"))]
    run = go(trainings, "conditional", root, strikes, group=True)
    assert not differing(contents(run), unstopped("conditional"))


@pytest.mark.parametrize(
    ("without", "lost"),
    [
        ("position", "checkpoint state_dict"),
        ("seeds", "checkpoint state_dict"),
    ],
)
def test_what_is_taken_out_is_missed(trainings, unstopped, root, without, lost):
    """So what the others find could be found."""
    strikes = [{"strike": {"step": 8}, "number": "SIGTERM"}]
    assert lost in differing(contents(go(trainings, "plain", root, strikes, without=[without])), unstopped("plain"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("without", "strike", "options", "lost"),
    [
        ("losses", {"step": 8}, [], "checkpoint callbacks"),
        ("settled counters", {"step": 8}, [], "checkpoint loops"),
        ("flush", {"step": 8}, [], "loss/generator"),
    ],
)
def test_what_is_taken_out_is_missed_elsewhere(trainings, unstopped, root, without, strike, options, lost):
    strikes = [{"strike": strike, "number": "SIGKILL"}]
    run = go(trainings, "plain", root, strikes, *options, without=[without])
    assert lost in differing(contents(run), unstopped("plain", *options))


MOMENTS = [
    ({"step": 1}, "first batch"),
    ({"step": 8}, "within"),
    ({"step": 10}, "last batch"),
    ({"validation": 10}, "validation"),
    ({"listening": 10}, "listening"),
    ({"saving": 8}, "saving within"),
    ({"saving": 10}, "saving an epoch"),
    ({"pruning": 7}, "pruning"),
]


@pytest.mark.slow
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strike", [pytest.param(strike, id=name) for strike, name in MOMENTS])
def test_each_signal_at_each_moment(trainings, unstopped, root, kind, strike, number):
    if (strike, number) == ({"step": 1}, "SIGKILL"):
        pytest.skip("there is nothing yet")
    run = go(trainings, kind, root, [{"strike": strike, "number": number}])
    assert not differing(contents(run), unstopped(kind))
