"""How long commands take to answer, and a training to its first step.

python benchmarks/startup.py [RUNS]     5 runs take about four minutes

Each command is a process of its own, and all are run in turn, so that a busy machine slows all of them. A table of
medians: seconds on the wall, seconds of processor time, and modules imported. Then, of a training like that of the
spoken digits (3000 sounds of a second, configs/digits.yaml, store built), where the time to the end of the first step
goes. torch and Lightning are there to be compared with: no training starts before they are imported.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

N_RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 5
N_SOUNDS = 3000
STEPS = ["-m", "benchmarks.startup", "steps"]


def commands() -> dict[str, list[str]]:
    """What is timed."""
    from gan.commands.main import VERBS

    return {
        "nothing": ["-c", "pass"],
        "import torch": ["-c", "import torch"],
        "import torch, lightning.pytorch.cli": ["-c", "import torch, lightning.pytorch.cli"],
        "import train": ["-c", "import train"],
        "python train.py --help": ["train.py", "--help"],
        "gan --help": ["-m", "gan", "--help"],
        **{f"gan {verb} --help": ["-m", "gan", verb, "--help"] for verb in VERBS},
    }


def ran(arguments: list[str]) -> tuple[float, float]:
    """Seconds on the wall and of processor time of a process of Python."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
    ) as process:
        said = process.stderr.read() if process.stderr else b""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    assert process.returncode == 0, said.decode()
    return seconds, used.ru_utime + used.ru_stime


def n_modules(arguments: list[str]) -> int:
    """How many modules it imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment()).stderr
    # The first line names the columns.
    return told.count("import time:") - 1


def environment() -> dict[str, str]:
    """Of every process."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "JSONARGPARSE_DEPRECATION_WARNINGS": "off"}


def write_digits(folder: Path) -> None:
    """Images of sounds like spoken digits."""
    from conftest import _encode_noise

    _encode_noise(folder, sample_rate=8000, n_fft=256, hop_length=64, seconds=1.2, n_files=N_SOUNDS)


def steps() -> None:
    """Train until the end of the first step, in this process, and print when what was reached, as JSON."""
    reached = {"Python": since_start()}
    import torch  # noqa: F401

    reached["import torch"] = since_start()
    import lightning.pytorch.cli

    reached["import Lightning"] = since_start()
    import train

    reached["import train"] = since_start()
    from gan.training import run_training

    class Mark(lightning.pytorch.Callback):
        """Notes when the callbacks before it are done."""

        def __init__(self, name: str) -> None:
            self.name = name

        def on_train_start(self, *arguments: Any) -> None:
            reached[self.name] = since_start()

        def on_train_batch_end(self, *arguments: Any) -> None:
            reached["first step"] = since_start()
            print(json.dumps(reached), flush=True)
            # Nothing is to be saved.
            os._exit(0)

    class Timed(train.GANCLI):
        """Notes when what was reached."""

        def parse_arguments(self, *arguments: Any) -> None:
            super().parse_arguments(*arguments)
            reached["command line"] = since_start()

        def instantiate_classes(self) -> None:
            super().instantiate_classes()
            reached["networks and trainer"] = since_start()
            self.trainer.callbacks.insert(0, Mark("Lightning's preparations"))
            self.trainer.callbacks.append(Mark("first listening, curves and card"))
            setup = self.datamodule.setup

            def timed_setup(stage: str) -> None:
                setup(stage)
                reached.setdefault("images", since_start())

            self.datamodule.setup = timed_setup

    sys.exit(run_training(Timed, sys.argv[1:]))


def since_start() -> float:
    """Seconds since this process was started."""
    return time.time() - float(os.environ["STARTED"])


def train_to_first_step(folder: Path) -> dict[str, float]:
    """When what was reached."""
    options = ["--config", "configs/digits.yaml", f"--data.images={folder / 'images'}"]
    options += [f"--trainer.default_root_dir={folder / 'runs'}", "--trainer.accelerator=cpu"]
    command, told = [sys.executable, *STEPS, *options], environment() | {"STARTED": str(time.time())}
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=told)
    reached: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return reached


def main() -> int:
    """Run, print."""
    timed = commands()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in timed}
    trainings = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_digits(folder / "images")
        # The first one builds the store, and numba's loops.
        train_to_first_step(folder)
        for _ in range(N_RUNS):
            for name, arguments in timed.items():
                found[name].append(ran(arguments))
            trainings.append(train_to_first_step(folder))
    busy = os.getloadavg()[0]
    print(f"medians of {N_RUNS} runs on {os.cpu_count()} cores, load {busy:.1f}\n")
    print("| command | s | s of processor time | modules |\n| --- | --- | --- | --- |")
    for name, runs in found.items():
        seconds, used = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"| {name} | {seconds:.2f} | {used:.2f} | {n_modules(timed[name])} |")
    print("\n| training: until the end of | s | of it |\n| --- | --- | --- |")
    before = 0.0
    for name in trainings[0]:
        reached = statistics.median(training[name] for training in trainings)
        print(f"| {name} | {reached:.2f} | {reached - before:.2f} |")
        before = reached
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["steps"]:
        del sys.argv[1]
        steps()
    sys.exit(main())
