"""The clips of a run that nobody trained."""

from pathlib import Path

import numpy as np
from conftest import SMALL, music

from gan.listen.clips import Clips
from gan.listen.picture import jpeg

RATE = SMALL.sample_rate
N_SAMPLES = SMALL.n_samples(64)


def write(run: Path, name: str, when: tuple[int, int] | None, seed: int, gain: float = 1.0) -> None:
    picture = np.random.default_rng(seed).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Clips(run).write(name, np.float32(gain) * music(N_SAMPLES, seed, RATE), RATE, jpeg(picture), when)


def make_run(folder: Path, n_epochs: int = 6, n_samples: int = 2, neighbours: tuple[int, ...] = (4,)) -> Path:
    """The clips of a run, and nothing else."""
    for index in range(2):
        for kind in ("real", "inverted"):
            write(folder, f"{kind}_{index}", None, seed=index)
    for epoch in range(1, n_epochs + 1):
        for index in range(n_samples):
            write(folder, f"sample_{index}", (epoch, 10 * epoch), seed=100 * epoch + index)
            if epoch in neighbours:
                write(folder, f"sample_{index}_neighbour", (epoch, 10 * epoch), seed=50 + index)
    return folder
