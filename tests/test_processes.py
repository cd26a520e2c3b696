"""Several processes train one GAN: the same as one process with a batch as large as all of theirs."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from restarts import contents, differing
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan.run import Run, newest_run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAIN = str(ROOT / "train.py")
OPTIONS = [
    "--data.images=images",
    "--data.n_frames=64",
    "--data.validation=[ab]0[0-3]",
    "--model.generator.init_args.base_channels=4",
    "--model.discriminator.init_args.base_channels=4",
    "--model.lr_decay=0",
    "--model.augment=gan.model.augment.Augment",
    "--model.augment.init_args.images_to_certainty=400",
    "--trainer.log_every_n_steps=1",
    "--trainer.accelerator=cpu",
    "--listen.n_samples=2",
    "--listen.n_references=1",
    "--evaluate.every_n_epochs=2",
    "--evaluate.n_images=20",
    "--seed_everything=5",
]
# Crops and latents are those of one process, and without this so is what becomes of them.
ALIKE = ["--model.generator.init_args.normalization=none", "--model.augment=null", "--trainer.max_epochs=3"]
# Five batches an epoch.
TWO = ["--trainer.devices=2", "--data.batch_size=4"]
ONE = ["--trainer.devices=1", "--data.batch_size=8"]
TRAIN_TWO = [TRAIN, *OPTIONS, *TWO, "--checkpoint.every_minutes=0", "--trainer.max_epochs=3"]
# Without the number of devices, which the README's job says.
SLURM_OPTIONS = [*OPTIONS, "--data.batch_size=4", "--checkpoint.every_minutes=0", "--trainer.max_epochs=3"]
LAUNCHERS = {
    "lightning": [sys.executable, *TRAIN_TWO],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *TRAIN_TWO],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_image):
    folder = tmp_path_factory.mktemp("processes")
    for index in range(44):
        write_image(folder / "images" / f"{'ab'[index % 2]}{index:02d}.png", n_frames=64, seed=index)
    return folder


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(TRAIN).parent)}
    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said, text=True)


def ended(folder: Path, *command: str) -> Run:
    process = start(folder, *command)
    assert process.wait(300) == 0, (folder / "said.txt").read_text()
    return newest_run(next(folder / option.partition("=")[2] for option in command if "default_root_dir" in option))


def curves(run: Run) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run.folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def beside_real(found: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    """The same with logits less those of real images: to a relative loss differences alone mean something."""
    real = dict(found.pop("logits/real"))
    return {
        tag: [(step, value - real[step]) for step, value in curve] if tag.startswith("logits/") else curve
        for tag, curve in found.items()
    }


@pytest.mark.slow
def test_two_processes_train_what_one_does(folder):
    """The same crops and latents, shared out; gradients and curves are means over all of them."""
    train = [sys.executable, TRAIN, *OPTIONS, *ALIKE]
    one = ended(folder, *train, *ONE, "--trainer.default_root_dir=one")
    two = ended(folder, *train, *TWO, "--trainer.default_root_dir=two")
    expected, found = (beside_real(curves(run)) for run in (one, two))
    assert found.keys() == expected.keys()
    for tag in set(expected) - {"time/epoch"}:
        steps, values = zip(*expected[tag], strict=True)
        assert tuple(step for step, _ in found[tag]) == steps, tag
        # Sums in another order, and what fifteen steps of Adam make of that; one more step until validation.
        tolerance = {"loss": 1e-4, "logits": 1e-3 if tag == "logits/validation" else 1e-4}.get(tag.split("/")[0], 1e-2)
        assert [value for _, value in found[tag]] == pytest.approx(values, rel=tolerance, abs=tolerance), tag
    assert len(list(two.folder.glob("events.out.tfevents.*"))) == 1
    said = (folder / "said.txt").read_text()
    assert said.count("epoch 3 of 3") == 1
    assert said.count("run: two/") == 1
    weights = [torch.load(run.newest_checkpoint(), weights_only=True)["state_dict"] for run in (one, two)]
    # What is added to all logits has no gradient, and Adam makes steps of its rounding errors.
    without_gradient = [name for name in weights[0] if name.startswith("discriminator") and name.endswith("bias")][-1]
    assert weights[0].pop(without_gradient).shape == (1,)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_stopped_processes_go_on_as_if_never_stopped(folder, launcher):
    """Stopped in the midst of an epoch by what a scheduler sends, to the process that has started the others."""
    train, root = LAUNCHERS[launcher], folder / launcher
    unstopped = ended(folder, *train, f"--trainer.default_root_dir={root / 'unstopped'}")
    process = start(folder, *train, f"--trainer.default_root_dir={root / 'stopped'}")
    while not list(root.glob("stopped/*/checkpoints/in_epoch_0001_batch_0000000[67].ckpt")):
        assert process.poll() is None, (folder / "said.txt").read_text()
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == {"lightning": 143, "torchrun": 1}[launcher]
    run = newest_run(root / "stopped", in_epoch=True)
    said = (folder / "said.txt").read_text()
    assert said.count("train.py: stopped after batch") == 1, said
    assert f"`python train.py --resume {run.folder}` goes on" in said
    assert run.checkpoints()[0].name.startswith("in_epoch_0001_batch_"), run.checkpoints()
    resumed = ended(folder, *train, f"--resume={run.folder}", f"--trainer.default_root_dir={root / 'stopped'}")
    assert "note:" not in (folder / "said.txt").read_text()
    assert resumed == run
    assert differing(contents(run), contents(unstopped)) == []


@pytest.mark.slow
def test_another_number_of_processes_is_said(folder):
    run = ended(folder, sys.executable, TRAIN, *OPTIONS, *TWO, "--trainer.max_epochs=1", "--trainer.default_root_dir=n")
    more = [*ONE, f"--resume={run.folder}", "--trainer.max_epochs=2", "--trainer.default_root_dir=n"]
    assert ended(folder, sys.executable, TRAIN, *more) == run
    said = (folder / "said.txt").read_text()
    assert "note: the run was saved with processes 2 (now 1): it goes on, but not to the bit" in said
    assert [step for step, _ in curves(run)["loss/generator"]] == list(range(1, 11))


SRUN = """#!/bin/bash
# What srun does of one machine: as many processes as there are tasks, the highest of their exit codes.
export SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=2 SLURM_NNODES=1 SLURM_NODELIST=localhost SLURM_NODEID=0
export SLURM_JOB_NAME=train
trap 'kill -TERM $first $second' TERM
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
code=0
for pid in $first $second; do
    while kill -0 $pid 2> /dev/null; do wait $pid; last=$?; done
    [ $last -gt $code ] && code=$last
done
exit $code
"""


@pytest.mark.slow
def test_the_readmes_job_goes_on_when_it_is_requeued(folder):
    """By a stand-in for SLURM; what Lightning finds of it in the environment is what SLURM puts there."""
    (job,) = [block for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "#SBATCH" in block]
    for old, new in (
        ("--trainer.num_nodes 2", "--trainer.num_nodes 1"),
        ("--trainer.devices 4", "--trainer.devices 2"),
        ("python train.py $resume", f"{sys.executable} {TRAIN} $resume {' '.join(SLURM_OPTIONS)}"),
        ("srun", "./srun"),
        ("scontrol", "./scontrol"),
    ):
        assert old in job
        job = job.replace(old, new)
    for name, text in {"job": job, "srun": SRUN, "scontrol": '#!/bin/bash\necho "$@" >> requeued.txt\n'}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": "0"}

    def submitted() -> subprocess.Popen[str]:
        with (folder / "said.txt").open("w") as said:
            return subprocess.Popen(["./job"], cwd=folder, env=environment, stdout=said, stderr=said, text=True)

    process = submitted()
    while not list(folder.glob("runs/4711/*/checkpoints/in_epoch_0001_*.ckpt")):
        assert process.poll() is None, (folder / "said.txt").read_text()
        time.sleep(0.001)
    # To the step, as --signal does, and not to the script.
    (srun,) = psutil.Process(process.pid).children()
    srun.terminate()
    assert process.wait(300) == 143, (folder / "said.txt").read_text()
    assert (folder / "requeued.txt").read_text() == "requeue 4711\n"
    (stopped,) = (folder / "runs" / "4711").iterdir()
    assert submitted().wait(300) == 0, (folder / "said.txt").read_text()
    assert list((folder / "runs" / "4711").iterdir()) == [stopped]
    assert [step for step, _ in curves(Run(stopped))["loss/generator"]] == list(range(1, 16))
    assert not list(folder.rglob("hpc_ckpt*"))
    assert len((folder / "requeued.txt").read_text().splitlines()) == 1
