r"""Whether a long sample is as good as a crop anywhere, and what it costs.

    python benchmarks/length.py RUN [--seconds 60] [--n 16] [--longest 600]

RUN is a run with a generator of any length (configs/endless.yaml). Printed are

- seams: how far a sample made in blocks is from the same made at once,
- crops: the discriminator's logits and the distances of `gan evaluate`, for crops sampled directly and for crops cut
  from anywhere in long samples, which should be alike,
- repetition: autocorrelation of the frames' mean level at the lags of a crop and a block, and how deep a pulse there is
  at the rate of the steps, in samples and in the run's recordings,
- cost: time and peak memory of one sample of --longest seconds, phase included, in a process of its own.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from gan.data.crops import Crop  # noqa: E402
from gan.data.datamodule import ImageData  # noqa: E402
from gan.evaluate.evaluation import Evaluation, Group, table  # noqa: E402
from gan.run import checkpoints_of  # noqa: E402
from gan.trained import Trained, load_run, open_data  # noqa: E402


def autocorrelation(levels: Tensor, lag: int) -> float:
    """Of sequences of levels, shape (n, n_frames), at a lag: the mean over sequences, each against its own mean."""
    levels = levels - levels.mean(1, keepdim=True)
    return float(((levels[:, lag:] * levels[:, :-lag]).mean(1) / levels.square().mean(1).clamp_min(1e-12)).mean())


def pulse_db(images: Tensor, period: int, range_db: float) -> float:
    """How deep what repeats with a period is: of each frequency, over all periods of an image, root mean square in dB.

    Of sound without a pulse, what remains is chance, and less the longer it is.
    """
    n_periods = images.shape[-1] // period
    level_db = images[:, 0, :, : n_periods * period] * (range_db / 2)
    changes = level_db - level_db.mean(-1, keepdim=True)
    return float(changes.reshape(*changes.shape[:2], n_periods, period).mean(2).square().mean().sqrt())


def crops_of(trained: Trained, long: Tensor, n_crops: int, source: torch.Generator) -> dict[str, Tensor]:
    """Crops sampled directly, and cut from anywhere in long samples."""
    latents = torch.randn(n_crops, trained.gan.latent_dim, generator=source)
    rows = torch.randint(len(long), (n_crops,), generator=source).tolist()
    starts = torch.randint(long.shape[-1] - trained.n_frames + 1, (n_crops,), generator=source).tolist()
    return {
        "sampled directly": torch.cat([trained.gan.sample(part) for part in latents.split(64)]),
        "cut from long samples": torch.stack(
            [long[row, :, :, start : start + trained.n_frames] for row, start in zip(rows, starts, strict=True)]
        ),
    }


def recordings_of(data: ImageData, n_frames: int) -> Tensor | None:
    """The beginnings of up to 64 training recordings that are long enough."""
    enough = [index for index in data.train_images if data.store.images.n_frames[index] >= n_frames][:64]
    crops = data.crops()
    crops.n_frames = n_frames
    return crops.__getitems__([Crop(index, 0) for index in enough]).images if enough else None


def cost(checkpoint: Path, seconds: float) -> str:
    """Median time of three, and peak memory, of one sample."""
    program = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    times = []
    with tempfile.TemporaryDirectory() as folder:
        options = ["--n", "1", "--seconds", str(seconds), "--output", folder, "--overwrite"]
        command = [sys.executable, "-m", "gan", "sample", str(checkpoint), *options]
        for _ in range(3):
            begin = time.monotonic()
            said = subprocess.check_output([sys.executable, "-c", program, *command], cwd=ROOT, text=True)
            times.append(time.monotonic() - begin)
    peak = int(said.split("peak ")[1]) / 1e6
    return f"{seconds:g} s of sound in {statistics.median(times):.1f} s, {peak:.2f} GB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--n_crops", type=int, default=500)
    parser.add_argument("--longest", type=float, default=600)
    options = parser.parse_args()
    run, checkpoints = checkpoints_of(options.run.resolve())
    checkpoint = next(iter(checkpoints.values()))
    trained, data = load_run(run, checkpoint), open_data(run, checkpoint)
    gan = trained.gan
    if not hasattr(gan.generator, "latent_length") or gan.n_classes:
        raise SystemExit(f"{run.folder}: what is measured are runs of configs/endless.yaml without labels")
    source = torch.Generator().manual_seed(0)
    n_frames = trained.settings.n_frames(round(options.seconds * trained.settings.sample_rate))
    latents = torch.randn(options.n, gan.generator.latent_length(n_frames), generator=source)
    blocks = list(gan.sample_blocks(latents))
    long = torch.cat(blocks, -1)[..., :n_frames]
    print(f"batch {trained.batches_seen}; {options.n} samples of {options.seconds:g} s, {n_frames} frames")
    difference = float((long[:2] - gan.sample(latents[:2])[..., :n_frames]).abs().max())
    print(f"seams: blocks differ from the whole by at most {difference:.1e} of 2")

    crops = crops_of(trained, long, options.n_crops, source)
    for name, images in crops.items():
        with torch.no_grad():
            logits = torch.cat([gan.discriminator(part) for part in images.split(64)])
        print(f"logits of crops {name}: mean {float(logits.mean()):.3f}, deviation {float(logits.std()):.3f}")
    print(table(Evaluation(data, options.n_crops).rows(Group(name, images) for name, images in crops.items())))

    step, lags = gan.generator.step_frames, {"crop": trained.n_frames, "block": blocks[0].shape[-1]}
    for name, images in {"samples": long, "recordings": recordings_of(data, n_frames)}.items():
        if images is not None:
            levels = images.mean((1, 2))
            found = [
                f"{word} ({lag}) {autocorrelation(levels, lag):+.3f}" for word, lag in lags.items() if lag < n_frames
            ]
            depth_db = pulse_db(images, step, trained.scale.range_db)
            print(
                f"repetition of {len(images)} {name}: {', '.join(found)}; pulse every {step} frames: {depth_db:.2f} dB"
            )
    print(f"cost: {cost(checkpoint, options.longest)}")


if __name__ == "__main__":
    main()
