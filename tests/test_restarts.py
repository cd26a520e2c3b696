"""Runs that are stopped at every kind of moment and gone on with, as often as one likes: nothing of them is lost."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import SMALL_RUN
from restarts import Trainings, contents, differing
from torch.nn.modules.batchnorm import _BatchNorm

import train
from gan.commands.main import main
from gan.errors import InputError
from gan.resuming import keep_others_out
from gan.run import Run, newest_run
from gan.stopping import Stopping
from gan.trained import load_run

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
THRICE = [
    {"strike": {"step": 3}, "number": "SIGKILL"},
    {"strike": {"step": 5}, "number": "SIGTERM"},  # an epoch's last batch
    {"strike": {"saving": 9}, "number": "SIGKILL"},
]
MANY = [
    {"strike": {"step": 3}, "number": "SIGKILL"},
    {"strike": {"step": 5}, "number": "SIGTERM"},  # an epoch's last batch
    {"strike": {"step": 7}, "number": "SIGINT"},
    {"strike": {"saving": 9}, "number": "SIGKILL"},
    {"strike": {"listening": 10}, "number": "SIGKILL"},
    {"strike": {"saving": 10}, "number": "SIGKILL"},
    {"strike": {"pruning": 2}, "number": "SIGKILL"},
]


@pytest.mark.parametrize("strikes", [THRICE, pytest.param(MANY, marks=pytest.mark.slow)], ids=["thrice", "many"])
def test_a_run_that_is_stopped_again_and_again(trainings, unstopped, root, strikes):
    assert not differing(contents(go(trainings, "plain", root, strikes)), unstopped("plain"))


def test_a_signal_to_those_who_prepare_batches_too(trainings, unstopped, root):
    strikes = [{"strike": {"step": step}, "number": number} for step, number in ((4, "SIGINT"), (8, "SIGTERM"))]
    run = go(trainings, "conditional", root, strikes, group=True)
    assert not differing(contents(run), unstopped("conditional"))


@pytest.mark.parametrize(
    ("without", "lost"),
    [
        ("position", "checkpoint state_dict"),
        pytest.param("seeds", "checkpoint state_dict", marks=pytest.mark.slow),
        pytest.param("losses", "checkpoint callbacks", marks=pytest.mark.slow),
        pytest.param("settled counters", "checkpoint loops", marks=pytest.mark.slow),
    ],
)
def test_what_is_taken_out_is_missed(trainings, unstopped, root, without, lost):
    """So what the others find could be found."""
    strikes = [{"strike": {"step": 8}, "number": "SIGKILL"}]
    assert lost in differing(contents(go(trainings, "plain", root, strikes, without=[without])), unstopped("plain"))


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


@pytest.mark.slow
def test_a_run_of_so_many_steps(trainings, unstopped, root):
    """Two steps a batch, of which the learning rates' fall is told."""
    more = ["--trainer.max_steps=26", "--model.lr_decay=0.8"]
    strikes = [{"strike": {"step": step}, "number": "SIGTERM"} for step in (4, 5, 8, 12)]
    assert not differing(contents(go(trainings, "plain", root, strikes, *more)), unstopped("plain", *more))


@pytest.mark.slow
def test_a_schedule_of_the_learning_rates(trainings, unstopped, root):
    """And spectral normalisation, whose vectors are a state too; without checkpoints within an epoch."""
    more = [
        "--model.lr_scheduler=torch.optim.lr_scheduler.CosineAnnealingLR",
        "--model.lr_scheduler.init_args.T_max=5",
        "--model.discriminator.init_args.normalization=spectral",
        "--model.penalty=null",
        "--checkpoint.every_minutes=null",
    ]
    strikes = [
        {"strike": {"step": 7}, "number": "SIGTERM"},
        {"strike": {"step": 10}, "number": "SIGINT"},
        {"strike": {"step": 14}, "number": "SIGKILL"},
    ]
    assert not differing(contents(go(trainings, "plain", root, strikes, *more)), unstopped("plain", *more))


def test_a_disk_that_is_full_for_a_while(trainings, unstopped, root):
    """Files can be no longer than a part of a checkpoint: the older ones stay, and from there it goes on."""
    here = f"--trainer.default_root_dir={root}"
    assert trainings.run(*PLAIN, here, strike={"step": 7}, number="SIGTERM") == 143
    (folder,) = root.iterdir()
    before = {path: path.read_bytes() for path in Run(folder).checkpoints()}
    assert trainings.run("--resume", here, strike={"step": 12}, number="SIGTERM", file_size=1_000_000) == 143
    said = trainings.said.read_text()
    epoch = folder / "checkpoints" / "epoch_0001.ckpt"
    assert f"warning: {epoch} could not be saved (File too large); older checkpoints are kept" in said
    assert "stopped after batch 12, last saved after batch 7; `python train.py --resume" in said
    assert {path: path.read_bytes() for path in folder.glob("checkpoints/*")} == before
    assert trainings.run("--resume", here) == 0
    assert not differing(contents(Run(folder)), unstopped("plain"))


@pytest.mark.slow
def test_a_disk_that_is_really_full(trainings, unstopped, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", tmp_path]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs to be allowed to mount a file system")
    try:
        here = f"--trainer.default_root_dir={tmp_path}"
        assert trainings.run(*PLAIN, here, strike={"step": 7}, number="SIGTERM") == 143
        (folder,) = tmp_path.iterdir()
        with (tmp_path / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        assert trainings.run("--resume", str(folder)) == 1
        said = trainings.said.read_text()
        assert f"No space left on device; make room on the disk; `python train.py --resume {folder}` goes on" in said
        (tmp_path / "ballast").unlink()
        assert trainings.run("--resume", str(folder)) == 0
        assert not differing(contents(Run(folder)), unstopped("plain"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 1.0])
def test_sigterm_and_soon_after_it_sigkill(trainings, unstopped, root, seconds):
    """As schedulers do; whether there was time for the batch or not."""
    here = f"--trainer.default_root_dir={root}"
    struck = {"strike": {"step": 8}, "number": "SIGTERM", "group": True, "kill_after": seconds}
    assert trainings.run(*CONDITIONAL, here, **struck) in (143, -9)
    assert trainings.run("--resume", here) == 0
    (folder,) = root.iterdir()
    assert not differing(contents(Run(folder)), unstopped("conditional"))


def test_a_second_ctrl_c_ends_at_once(trainings, root):
    before = trainings.said.stat().st_size
    here = f"--trainer.default_root_dir={root}"
    pid = trainings.start(*PLAIN, here, strike={"step": 2}, number="SIGINT", sleep=600)
    while "SIGINT: stopping" not in trainings.said.read_text()[before:]:
        time.sleep(0.1)
    time.sleep(0.6)
    os.kill(pid, signal.SIGINT)
    # One that waits for its batch ends with 130.
    assert trainings.wait() == -signal.SIGINT


def test_one_ctrl_c_that_comes_twice_is_one(monkeypatch):
    monkeypatch.setattr("gan.stopping.time.monotonic", lambda: 0.0)
    with Stopping() as stopping:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert stopping.signal == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def fill_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    "damage", [flip_a_bit, *(pytest.param(each, marks=pytest.mark.slow) for each in (cut, fill_with_zeros))]
)
def test_a_damaged_checkpoint(trainings, unstopped, root, damage):
    """The one before it is gone on from, be it of an epoch; it is put aside until it is written again."""
    here = f"--trainer.default_root_dir={root}"
    assert trainings.run(*PLAIN, here, strike={"step": 6}, number="SIGTERM") == 143
    (folder,) = root.iterdir()
    run = Run(folder)
    newest, older = run.checkpoints()
    assert (newest.name, older.name) == ("in_epoch_0001_batch_00000006.ckpt", "epoch_0000.ckpt")
    damage(newest)
    # Damage to the one before it too, by hand, would leave nothing; so it is said.
    whole = older.read_bytes()
    damage(older)
    assert trainings.run("--resume", here) == 2
    assert f"train.py: {older}: cannot be read as a checkpoint" in trainings.said.read_text()
    assert run.checkpoints() == [newest, older]
    older.write_bytes(whole)
    assert trainings.run("--resume", here) == 0
    said = trainings.said.read_text()
    assert f"note: {newest}: cannot be read as a checkpoint" in said
    assert "; trying the one before it, epoch_0000.ckpt\n" in said
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert not differing(contents(run), unstopped("plain"))


def test_which_checkpoints_are_kept(trainings, root, monkeypatch, capsys):
    here = f"--trainer.default_root_dir={root}"
    more = ["--trainer.max_epochs=5", "--checkpoint.n_kept=3"]
    part = "checkpoints/.epoch_0000.ckpt.left_over.part"

    def names(run: Run) -> list[str]:
        return [path.name for path in run.checkpoints()]

    assert trainings.run(*PLAIN, *more, here, strike={"step": 4}, number="SIGKILL") == -9
    run = newest_run(root, in_epoch=True)
    assert names(run) == [f"in_epoch_0000_batch_0000000{batch}.ckpt" for batch in (3, 2, 1)]
    with pytest.raises(InputError, match="stopped before its first epoch ended"):
        run.newest_checkpoint()
    (run.folder / part).write_bytes(b"half")
    assert main(["info", str(run.folder)]) == 0
    assert f"go on: python train.py --resume {run.folder}" in capsys.readouterr().out
    # One that is named can be listened to all the same, with an average that is made ready for it.
    monkeypatch.chdir(root.parent)
    trained = load_run(run, run.checkpoints()[0])
    assert trained.batches_seen == 3
    assert all(int(norm.num_batches_tracked) == 4 for norm in trained.gan.ema.modules() if isinstance(norm, _BatchNorm))
    assert main(["info", str(run.checkpoints()[0])]) == 0
    assert "epoch 1, batch 3" in capsys.readouterr().out
    assert trainings.run("--resume", here, strike={"step": 24}, number="SIGKILL") == -9
    within = [f"in_epoch_0004_batch_000000{batch}.ckpt" for batch in (23, 22, 21)]
    assert names(run) == [*within, "epoch_0003.ckpt", "epoch_0002.ckpt", "epoch_0001.ckpt"]
    assert not (run.folder / part).exists()
    # What is sampled and measured is what an epoch ended with.
    assert run.newest_checkpoint().name == "epoch_0003.ckpt"
    assert trainings.run("--resume", here) == 0
    assert names(run) == ["epoch_0004.ckpt", "epoch_0003.ckpt", "epoch_0002.ckpt"]


@pytest.mark.slow
def test_another_number_of_threads_is_said(trainings, root):
    here = f"--trainer.default_root_dir={root}"
    assert trainings.run(*PLAIN, here, strike={"step": 4}, number="SIGTERM") == 143
    (folder,) = root.iterdir()
    (path,) = Run(folder).checkpoints()[:1]
    state = torch.load(path, weights_only=True)
    assert state["made_by"]["torch"] == torch.__version__
    assert state["made_by"]["threads"] == 1
    state["made_by"] |= {"torch": "2.0", "threads": 64}
    torch.save(state, path)
    assert trainings.run("--resume", here) == 0
    expected = f"note: the run was saved with torch 2.0 (now {torch.__version__}), threads 64 (now 1): it goes on, but"
    assert expected in trainings.said.read_text()


def test_a_new_run_with_the_weights_of_another(trainings, unstopped, root):
    unstopped("plain")
    checkpoint = newest_run(root.parent / "unstopped-plain").newest_checkpoint()
    begin = [*PLAIN, f"--trainer.default_root_dir={root}", f"--init-from={checkpoint}"]
    still = ["--model.generator_lr=0", "--model.discriminator_lr=0", "--trainer.max_epochs=1", "--seed_everything=6"]
    assert trainings.run(*begin, *still) == 0
    run = newest_run(root)
    found, given = (torch.load(path, weights_only=True) for path in (run.newest_checkpoint(), checkpoint))
    assert found["batches_seen"] == EPOCH
    for name, value in given["state_dict"].items():
        if name.startswith(("generator.", "discriminator.")) and "running" not in name and "batches" not in name:
            torch.testing.assert_close(found["state_dict"][name], value, rtol=0, atol=0)
    # It is resumed like any other, without what it began with.
    assert trainings.run("--resume", str(run.folder), "--trainer.max_epochs=2") == 0

    def refused(*arguments: str) -> str:
        before = len(trainings.said.read_text())
        assert trainings.run(*arguments) == 2
        return trainings.said.read_text()[before:]

    said = refused(*begin, "--model.discriminator.init_args.base_channels=8")
    assert f"train.py: {checkpoint}: its weights do not fit the networks of this run: discriminator." in said
    assert "(4, 1, 4, 4) instead of (8, 1, 4, 4)" in said
    assert said.count("\n") == 1
    assert "nowhere.ckpt: cannot be read as a checkpoint" in refused(*begin[:-1], "--init-from=nowhere.ckpt")
    assert "give one of them" in refused("--resume", begin[-2], begin[-1])
    assert len(list(root.iterdir())) == 1


def test_a_run_is_trained_by_one_process(conditional, capsys):
    run = conditional
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.name != ".lock"}
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with keep_others_out(run):
            os.write(ready[1], b"!")
            os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        assert train.run_training(train.GANCLI, ["--resume", str(run.folder)]) == 2
        said = capsys.readouterr().err
        assert said == (
            f"train.py: {run.folder}: it is being trained by process {pid} on {socket.gethostname()}; wait for that, "
            "or stop it first\n"
        )
        after = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.name != ".lock"}
        assert after == before
    finally:
        os.write(done[1], b"!")
        os.waitpid(pid, 0)
    with keep_others_out(run):
        pass
