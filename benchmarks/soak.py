"""A training of thousands of epochs: whether anything grows that should not.

    python benchmarks/soak.py [--minutes 15] [OPTIONS OF train.py]     e.g. --listen.every_n_epochs=1

`python train.py` on images of 32 x 32 made on the spot, five batches an epoch, so that quarter of an hour is as many
epochs as others have in weeks. Sounds, watchdog, evaluation and checkpoints are what they are in any run, if not after
every epoch. The process is watched from outside: its memory (all that is resident, and what is no file's), open files,
threads, the folder of its run, and the seconds from one line of an epoch to the next, without those epochs that
listen, look or measure, and these apart.

Growth is told from the last two thirds: the slope of twenty means, with its standard error. What is flat cannot, by
two standard errors, grow by more than is said beside it. Only the folder may grow, by its curves and sounds.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402

from gan.sound.codec import Origin, encode_image  # noqa: E402
from gan.sound.settings import SpectrogramSettings  # noqa: E402
from gan.sound.spectrogram import magnitude_from_waveform  # noqa: E402

N_IMAGES = 40
# Epochs from one sound, look and measurement to the next.
LISTEN, EVALUATE = 20, 200
OPTIONS = [
    "--data.images=images",
    "--data.n_frames=32",
    "--data.batch_size=4",
    "--data.validation_fraction=0.5",
    *(f"--model.{network}.init_args.base_channels=4" for network in ("generator", "discriminator")),
    "--model.generator.init_args.latent_dim=8",
    "--listen.n_samples=2",
    "--listen.n_references=1",
    "--listen.n_kept=20",
    f"--listen.every_n_epochs={LISTEN}",
    f"--watchdog.every_n_epochs={LISTEN}",
    f"--evaluate.every_n_epochs={EVALUATE}",
    "--evaluate.n_images=40",
    "--trainer.max_epochs=1000000",
    "--trainer.accelerator=cpu",
]
# What is watched: unit, and the growth in 1,000 epochs that is not worth a word (of seconds: as a share).
WATCHED = {
    "resident": ("MB", 1.0),
    "own": ("MB", 1.0),
    "files": ("", 0.05),
    "threads": ("", 0.05),
    "processor, an epoch": ("ms", 0.01),
    "clock, an epoch": ("ms", None),
    "clock, one that listens": ("ms", None),
    "folder": ("MB", None),
}
N_ROWS, N_MEANS = 10, 20
# A slope with an error wants three means of two thirds of what was seen.
_LEAST = 6


@dataclass(frozen=True)
class Growth:
    """A slope with its standard error, in 1,000 epochs."""

    slope: float
    error: float

    def judged(self, tolerance: float) -> str:
        """In a word or two."""
        if abs(self.slope) + 2 * self.error < tolerance:
            return "flat"
        return "GROWS" if self.slope - 2 * self.error > 0 and self.slope > tolerance else "cannot be told"


def growth(epochs: Sequence[float], values: Sequence[float]) -> Growth:
    """Of what was seen in the last two thirds of the epochs."""
    late = np.asarray(epochs) > epochs[-1] / 3
    n_means = min(N_MEANS, int(late.sum()))
    x, y = (
        np.array([np.median(part) for part in np.array_split(np.asarray(column)[late], n_means)])
        for column in (epochs, values)
    )
    x = (x - x.mean()) / 1000
    slope = float(x @ y / (x @ x))
    left = y - y.mean() - slope * x
    return Growth(slope, float(np.sqrt(left @ left / (n_means - 2) / (x @ x))))


def write_images(folder: Path) -> None:
    """Noises of different colours, each a recording."""
    settings = SpectrogramSettings(sample_rate=8000, n_fft=64, hop_length=16, win_length=64)
    n_samples = settings.n_samples(40)
    for index in range(N_IMAGES):
        noise = torch.randn(n_samples, generator=torch.Generator().manual_seed(index))
        waveform = 0.1 * (noise + torch.cos(torch.arange(n_samples) * (0.2 + 0.06 * index)))
        origin = Origin(f"{index}.wav", 0.0, n_samples, last=True)
        encode_image(folder / f"{index:02d}.png", magnitude_from_waveform(waveform, settings), settings, origin)


def epochs_of(training: "subprocess.Popen[str]", seconds: float) -> Iterator[tuple[int, float]]:
    """Number and end of each epoch, until time is up and the training has stopped."""
    end = time.monotonic() + seconds
    assert training.stdout is not None
    for line in training.stdout:
        now = time.monotonic()
        if found := re.match(r"epoch (\d+) of", line):
            yield int(found[1]), now
        if now > end:
            training.send_signal(signal.SIGTERM)
            end = float("inf")


def n_bytes(folder: Path) -> int:
    """Of all files; some may vanish meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def watch(folder: Path, seconds: float, options: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Train, and give what was seen: of each thing, epochs and values."""
    end = time.monotonic() + seconds
    command = [sys.executable, str(ROOT / "train.py"), *OPTIONS, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JSONARGPARSE_DEPRECATION_WARNINGS": "off"}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in WATCHED}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as training:
        process, looked = psutil.Process(training.pid), time.monotonic()
        before, last, spent = None, 0, 0.0
        for epoch, now in epochs_of(training, seconds):
            if before is not None:
                sort = "an epoch" if epoch % LISTEN else "one that listens"
                seen[f"clock, {sort}"].append((epoch, 1e3 * (now - before)))
            before = now
            if now - looked > seconds / 500 and training.poll() is None:
                memory, times = process.memory_info(), process.cpu_times()
                found = {
                    "resident": memory.rss / 1e6,
                    "own": (memory.rss - memory.shared) / 1e6,
                    "files": process.num_fds(),
                    "threads": process.num_threads(),
                    "processor, an epoch": 1e3 * (times.user + times.system - spent) / (epoch - last),
                    "folder": n_bytes(folder / "runs") / 1e6,
                }
                # The first time holds the start of the program.
                for name, value in found.items() if last else ():
                    seen[name].append((epoch, value))
                looked, last, spent = time.monotonic(), epoch, times.user + times.system
    if training.returncode != 128 + signal.SIGTERM or time.monotonic() < end:
        print(f"the training ended with {training.returncode}, {end - time.monotonic():.0f} s before it was stopped")
    return seen


def report(seen: dict[str, list[tuple[float, float]]]) -> bool:
    """Print; returns whether nothing grows that should not."""
    if not seen["folder"]:
        print("nothing was seen before time was up; give more --minutes")
        return False
    last, flat = seen["folder"][-1][0], True
    print(f"| up to epoch | {' | '.join(f'{name} {unit}'.strip() for name, (unit, _) in WATCHED.items())} |")
    for row in range(N_ROWS):
        low, high = row * last / N_ROWS, (row + 1) * last / N_ROWS
        parts = ([value for epoch, value in seen[name] if low < epoch <= high] for name in WATCHED)
        print(f"| {high:.0f} | {' | '.join(f'{statistics.median(part):.1f}' if part else '-' for part in parts)} |")
    for name, (unit, tolerance) in WATCHED.items():
        if len(seen[name]) < _LEAST:
            print(f"{name}: seen {len(seen[name])} times, too few to tell; give more --minutes")
            continue
        epochs, values = zip(*seen[name], strict=True)
        found = growth(epochs, values)
        verdict = "may grow"
        if tolerance is not None:
            limit = tolerance * statistics.median(values) if unit == "ms" else tolerance
            verdict = f"{found.judged(limit)} (within {limit:.3g})"
            flat &= not verdict.startswith("GROWS")
        print(f"{name}: {found.slope:+.3f} ± {found.error:.3f} {unit} in 1,000 epochs: {verdict}")
    return flat


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    given, options = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        write_images(Path(place, "images"))
        return int(not report(watch(Path(place), 60 * given.minutes, options)))


if __name__ == "__main__":
    sys.exit(main())
