r"""Quality of what recipes generate after the same time of training on the same images.

    python benchmarks/quality.py IMAGES --minutes 30 [--recipes specgan dcgan ours] [--seeds 0 1 2]

IMAGES is the Free Spoken Digit Dataset, encoded as configs/digits.yaml says. Its indices 0-4 are held out, as everybody
does. A small set is a part of the images, which --keep chooses by file name; what is generated is then compared with
those that --reference chooses, as nobody wants just the part back: 150 digits of a speaker who said 500 are
    --keep "_jackson_1?[0-9]\." --reference "_jackson_"
Other sets need --config, --labels and --validation, e.g. the demo's
    data/demo/images --config configs/default.yaml --labels folder --validation "[05]\.wav$"

Recipes, others' and ours, are options of `python train.py`. They are trained one after the other, so that each has the
machine for itself, and measured as `gan evaluate` does. Runs stay in --out, where TensorBoard lets them be heard; what
is trained there already is not trained again.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

RECIPES = {
    "specgan": ["--config", "configs/specgan.yaml"],
    "dcgan": ["--config", "configs/dcgan.yaml"],
    "hinge": ["--config", "configs/hinge.yaml"],
    "r3gan": ["--config", "configs/r3gan.yaml"],
    "ours": [],
    "ours, per frequency": ["--data.normalization", "per_frequency"],
    "ours, augmented": ["--config", "configs/small_data.yaml"],
    "ours, told the labels": ["--data.conditional", "true"],
}


def train(name: str, seed: int, options: argparse.Namespace, images: Path) -> Path:
    """Train a recipe; returns the run's folder."""
    root = options.out / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"
    if found := sorted(root.glob("*/checkpoints/epoch_*.ckpt")):
        print(f"{root}: trained already")
        return found[-1].parent.parent
    hours, minutes = divmod(options.minutes, 60)
    command = [
        *(sys.executable, "train.py"),
        *("--config", options.config.resolve()),
        *RECIPES[name],
        *("--data.images", images.resolve()),
        *("--data.labels", options.labels),
        *("--data.validation", options.validation),
        *("--seed_everything", seed),
        *("--trainer.default_root_dir", root.resolve()),
        *("--trainer.max_epochs", 1_000_000),
        *("--trainer.max_time", f"00:{int(hours):02d}:{int(minutes):02d}:{round(minutes % 1 * 60):02d}"),
        # Listening and measuring are the same for all, and not what is compared.
        *("--listen.every_n_epochs", options.listen_every),
        *("--evaluate.every_n_epochs", 1_000_000),
    ]
    start = time.monotonic()
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    print(f"{root}: {(time.monotonic() - start) / 60:.1f} min", flush=True)
    return max(root.glob("*/checkpoints")).parent


def part(images: Path, pattern: str, folder: Path) -> Path:
    """A folder of links to those images whose names a pattern fits."""
    for path in images.rglob("*.png"):
        link = folder / path.relative_to(images)
        if re.search(pattern, path.name) and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    print(f"{folder}: {sum(1 for _ in folder.rglob('*.png'))} of {images}")
    return folder


def main() -> None:
    """Train all, measure all, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--recipes", nargs="+", default=["specgan", "dcgan", "ours"], choices=RECIPES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "digits.yaml")
    parser.add_argument("--labels", default="([0-9])_")
    parser.add_argument("--validation", default=r"_[0-4]\.wav$")
    parser.add_argument("--keep", help="Train on images whose names this fits.")
    parser.add_argument("--reference", help="Compare with images whose names this fits; all if not given.")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--listen_every", type=int, default=5)
    parser.add_argument("--n_images", type=int, default=1000)
    options = parser.parse_args()

    from gan.evaluate.classifier import open_classifier
    from gan.evaluate.evaluation import Evaluation, Row, table
    from gan.run import Run
    from gan.sound.phase.pghi import PGHIGriffinLim
    from gan.trained import load_run, open_data

    images = part(options.images, options.keep, options.out / "images") if options.keep else options.images
    reference = (
        part(options.images, options.reference, options.out / "reference") if options.reference else options.images
    )
    rows: dict[str, Row] = {}
    known: dict[str, Row] = {}
    for name in options.recipes:
        results = []
        for seed in options.seeds:
            folder = train(name, seed, options, images)
            run = Run(folder)
            data = open_data(run, run.newest_checkpoint(), reference)
            # Each recipe is measured on its own scale: what that loses is the recipe's.
            evaluation = Evaluation(data, options.n_images, open_classifier(data))
            trained = load_run(run)
            row = evaluation.rows([evaluation.samples(trained.gan)])["samples"]
            results.append({"batches": float(trained.batches_seen)} | row)
            known = known or evaluation.rows(evaluation.known(PGHIGriffinLim(data.settings)))
        rows[f"{name} ({len(results)} seeds)"] = {
            key: statistics.fmean(result[key] for result in results) for key in results[0]
        }
        if len(results) > 1:
            for key in [key for key in results[0] if not key.endswith("_deviation")]:
                rows[f"{name} ({len(results)} seeds)"][f"{key}_deviation"] = statistics.stdev(
                    result[key] for result in results
                )
        print(table(known | rows), flush=True)


if __name__ == "__main__":
    main()
