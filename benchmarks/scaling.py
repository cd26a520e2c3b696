"""What a second process brings: the same training by one process and by two, with the same batch each or half of it.

python benchmarks/scaling.py [--rounds 3] [--batch 64] [OPTIONS OF train.py]     about 10 minutes on two cores

Each process has one thread. `weak`: each has the whole batch, so a step sees twice as many crops; `strong`: each has
half of the batch. `two threads` is one process that uses both cores by itself. Trainings of two epochs are made by
turns, and the second epochs' batches are compared; listening and measuring, which one process does for all, are left
out. Without other options it is configs/digits.yaml's networks on 1300 sounds that are made for it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from gan.data.demo import make_demo  # noqa: E402
from gan.run import newest_run  # noqa: E402

# Processes, threads of each, and of how many parts of a batch each has one.
WAYS = {"one process": (1, 1, 1), "weak": (2, 1, 1), "strong": (2, 1, 2), "two threads": (1, 2, 1)}
QUIET = ["--listen.every_n_epochs=1000", "--evaluate.every_n_epochs=1000", "--watchdog.every_n_epochs=1000"]


def crops_per_second(way: str, batch: int, options: list[str], folder: Path) -> float:
    """Of the second epoch of a training."""
    n_processes, n_threads, n_parts = WAYS[way]
    batch //= n_parts
    root = folder / way.replace(" ", "_")
    command = [
        *(sys.executable, str(ROOT / "train.py")),
        *options,
        *QUIET,
        *("--data.validation_fraction=0", "--trainer.accelerator=cpu", f"--trainer.devices={n_processes}"),
        *(f"--data.batch_size={batch}", "--trainer.max_epochs=2", f"--trainer.default_root_dir={root}"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(n_threads), "JSONARGPARSE_DEPRECATION_WARNINGS": "off"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    state = torch.load(newest_run(root).newest_checkpoint(), weights_only=True)
    return float(state["batches_seen"] / 2 * n_processes * batch / state["callbacks"]["Pace"]["laps"][-1])


def main() -> None:
    """Train by turns, print."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    given, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if not options:
            make_demo(folder)
            options = [f"--data.images={folder / 'images'}"]
            options += [f"--model.{network}.init_args.base_channels=16" for network in ("generator", "discriminator")]
        speeds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way, found in speeds.items():
                found.append(crops_per_second(way, given.batch, options, folder))
    print("| | crops/s | x one process |\n| --- | --- | --- |")
    for way, found in speeds.items():
        ratio = statistics.median(ours / one for ours, one in zip(found, speeds["one process"], strict=True))
        print(f"| {way} | {statistics.median(found):.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
