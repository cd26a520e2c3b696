"""`gan evaluate`: how near what a run generates is to what it was trained on, and whether it has learnt it by heart."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gan.commands.parser import parser_of
from gan.files import atomic_write
from gan.outputs import Mark, Outputs

if TYPE_CHECKING:
    from gan.evaluate.evaluation import Evaluation, Group
    from gan.run import Run

RESULT = "evaluation.json"


def evaluate(run: Path, n_images: int = 1000, seed: int = 0, overwrite: bool = False, device: str = "cpu") -> int:
    """Measure what a run generates against what it was trained on, beside rows whose numbers are known.

    Samples of the newest checkpoint and of the best, an untrained generator and noise are compared with training crops,
    as are recordings that were held out, and the same turned into sound and back. The nearer a row is to the held-out
    recordings the better; below them it repeats what it was trained on, which the copy rate tells. The same numbers
    are written to evaluation.json in the run's folder.

    Args:
        run: A run's folder, or one of its checkpoints.
        n_images: Images of a row, and training crops that they are compared with.
        seed: Seed of latents and crops.
        overwrite: Replace an evaluation.json that `gan evaluate` did not make.
        device: Where to generate.

    Returns:
        Exit code.
    """
    from gan.evaluate.classifier import open_classifier
    from gan.evaluate.evaluation import HELD_OUT, Evaluation, check_n_images, table
    from gan.run import checkpoints_of
    from gan.trained import open_data

    # Before a classifier is trained for it.
    check_n_images(n_images)
    folder, checkpoints = checkpoints_of(run)
    outputs = Outputs([folder.config, *checkpoints.values()], overwrite, "move it away, or give --overwrite")
    outputs.check(folder.folder / RESULT, Mark("result of gan evaluate", _is_result))
    data = open_data(folder, next(iter(checkpoints.values())))
    classifier = open_classifier(data) if len(data.class_names) > 1 else None
    evaluation = Evaluation(data, n_images, classifier, seed)
    rows = evaluation.rows(_groups(folder, checkpoints, evaluation, device))
    print(table(rows))
    if classifier is not None and classifier.accuracy is not None:
        print(f"classifier: {classifier.accuracy:.1%} right of {classifier.n_validation} held-out images")
    if evaluation.n_block < 100:
        print(f"note: only {evaluation.n_block} images are compared at a time, so numbers are rough")
    if HELD_OUT not in rows:
        print("note: too few recordings are held out to compare with them; data.validation_fraction says how many are")
    with atomic_write(folder.folder / RESULT) as part:
        part.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(f"written to {folder.folder / RESULT}")
    return 0


def _is_result(path: Path) -> bool:
    """Whether a file holds rows of numbers, each with a distance."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not (isinstance(rows, dict) and rows):
        return False
    return all(isinstance(row, dict) and any(name.startswith("frechet_") for name in row) for row in rows.values())


def _groups(run: "Run", checkpoints: Mapping[str, Path], evaluation: "Evaluation", device: str) -> Iterator["Group"]:
    """What is measured: known sounds, those of the checkpoints, of an untrained generator, and noise."""
    from gan.sound.phase.pghi import PGHIGriffinLim
    from gan.trained import load_run, untrained

    *recordings, noise = evaluation.known(PGHIGriffinLim(evaluation.data.settings))
    yield from recordings
    for name, checkpoint in checkpoints.items():
        trained = load_run(run, checkpoint, device)
        yield evaluation.samples(trained.gan, f"{name}, batch {trained.batches_seen}")
    yield evaluation.samples(untrained(run, next(iter(checkpoints.values()))).to(device), "untrained")
    yield noise


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan evaluate` and run it."""
    parser = parser_of(evaluate)
    parser.add_argument("run", type=Path, metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace an evaluation.json that `gan evaluate` did not make."
    )
    parser.add_function_arguments(evaluate, skip={"run", "overwrite"})
    return evaluate(**parser.parse_args(list(arguments)).as_dict())
