"""Lines that generators draw over their images (`gan.evaluate.checkerboard`): by architecture, and of trained runs.

    python benchmarks/checkerboard.py [RUN | CHECKPOINT ...] [--images 256] [--seeds 5] [--size 128 128]

A table of dB above the neighbouring frequencies of the mean image's spectrum, for each period in pixels, along time
and along frequency; 0 is none, less is a gap, and what chance does is of the order of a dB. First untrained generators,
as a training starts them, the mean and the worst of the seeds: what an architecture tends to before it has learnt
anything. The blocks of a resnet start as nothing; "random blocks" has weights instead of these zeros. Then the
generators of runs (folders like runs/2026-01-31_12-00-00, their newest checkpoint) or of checkpoints inside of them,
with the averaged weights that samples are made with; labels in turn.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gan.errors import InputError
from gan.evaluate.checkerboard import checkerboard
from gan.model import dcgan, resnet
from gan.run import Run
from gan.trained import load_run

BATCH = 32


def random_blocks(size: tuple[int, int]) -> nn.Module:
    generator = resnet.Generator(size)
    for layer in generator.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.normal_(layer.weight, 0.0, layer.in_channels**-0.5)
    return generator


UNTRAINED: dict[str, Callable[[tuple[int, int]], nn.Module]] = {
    "dcgan, transposed": lambda size: dcgan.Generator(size, base_channels=16),
    "dcgan, transposed, no norm": lambda size: dcgan.Generator(size, base_channels=16, normalization="none"),
    "dcgan, resize": lambda size: dcgan.Generator(size, base_channels=16, upsample="resize"),
    "dcgan, resize, no norm": lambda size: dcgan.Generator(
        size, base_channels=16, normalization="none", upsample="resize"
    ),
    "resnet": resnet.Generator,
    "resnet, random blocks": random_blocks,
}


@torch.no_grad()
def untrained_images(make: Callable[[tuple[int, int]], nn.Module], size: tuple[int, int], n: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    # In training mode: batch normalization knows nothing of its images yet.
    generator = make(size).to(memory_format=torch.channels_last)
    return torch.cat([generator(torch.randn(BATCH, 128)) for _ in range(n // BATCH)])


def trained_images(path: Path, n: int) -> Tensor:
    checkpoint = path if path.suffix == ".ckpt" else None
    run = Run(path.resolve().parent.parent if checkpoint else path)
    gan = load_run(run, checkpoint).gan
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(BATCH) % gan.n_classes if gan.n_classes else None
    batches = [gan.sample(torch.randn(BATCH, gan.latent_dim, generator=source), labels) for _ in range(n // BATCH)]
    return torch.cat(batches)


def row(title: str, measured: Sequence[dict[int, float]]) -> str:
    cells = []
    for period in measured[0]:
        levels = [levels[period] for levels in measured]
        worst = f" ({max(levels):.0f})" if len(levels) > 1 else ""
        cells.append(f"{statistics.mean(levels):6.1f}{worst:>5}")
    return f"{title:45}" + " ".join(cells)


def show(title: str, images: Sequence[Tensor]) -> None:
    along = [checkerboard(one) for one in images]
    print(row(f"{title}, time", [one.time_db for one in along]))
    print(row(f"{title}, frequency", [one.frequency_db for one in along]), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--images", type=int, default=256, help=f"of each generator, a multiple of {BATCH}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("N_FREQS", "N_FRAMES"))
    options = parser.parse_args()
    heading = f"dB, mean of {options.images} images (worst seed); period"
    print(f"{heading:45}" + " ".join(f"{2**octave:11}" for octave in range(1, 5)))
    for title, make in UNTRAINED.items():
        seeds = range(options.seeds)
        show(title, [untrained_images(make, tuple(options.size), options.images, seed) for seed in seeds])
    for path in options.runs:
        try:
            show(str(path), [trained_images(path, options.images)])
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
