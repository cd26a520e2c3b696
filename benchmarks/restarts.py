"""A training that is killed again and again at random moments, most of them while it saves: what is lost of it.

python benchmarks/restarts.py [KILLS] [SEED]     200 kills take about a quarter of an hour

Its checkpoints are 20 MB and written after every batch. Each time it is started again with --resume; in the end its
weights, optimizers, curves and sounds are compared with those of a run that was never stopped.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

from conftest import SMALL_RUN, _write_image  # noqa: E402
from restarts import Trainings, contents, differing  # noqa: E402

from gan.run import Run, newest_run  # noqa: E402

N_KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 0
OPTIONS = [
    "--data.images=images",
    *SMALL_RUN,
    "--data.batch_size=2",
    "--model.generator.init_args.base_channels=16",
    "--model.discriminator.init_args.base_channels=16",
    "--trainer.log_every_n_steps=1",
    "--listen.n_samples=2",
    "--listen.n_references=1",
    "--evaluate.every_n_epochs=1000000",
    "--model.lr_decay=0",
    "--checkpoint.every_minutes=0",
]


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


def batches_logged(run: Run) -> int:
    """How often a batch was logged, in all files of a run, those that were done again included."""
    return sum(
        value.tag == "loss/discriminator"
        for path in run.folder.glob("events.out.tfevents.*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    )


def main() -> int:
    """Kill, resume, compare, print."""
    draw = random.Random(SEED)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for index in range(22):
            _write_image(folder / "images" / f"{index:02d}.png", n_frames=64, seed=index)
        trainings = Trainings(folder)
        begin = [*OPTIONS, "--trainer.default_root_dir=killed", "--trainer.max_epochs=1000000"]
        while counts["kills"] < N_KILLS:
            before = trainings.said.stat().st_size if trainings.said.exists() else 0
            pid = trainings.start(*begin)
            while "then open http" not in trainings.said.read_text()[before:]:
                time.sleep(0.02)
            time.sleep(draw.uniform(0.0, 3.0))
            os.kill(pid, signal.SIGKILL)
            assert trainings.wait() == -signal.SIGKILL, trainings.said.read_text()[before:]
            counts["kills"] += 1
            (killed,) = (folder / "killed").iterdir()
            run = Run(killed)
            counts["with half of a checkpoint"] += any(run.checkpoint_folder.glob(".*.part"))
            if found := run.checkpoints():
                begin = ["--resume", str(killed)]
                counts["newest within an epoch" if found[0].name.startswith("in_") else "newest of an epoch"] += 1
            else:
                counts["nothing saved yet: begun anew"] += 1
                killed.rename(folder / f"begun_{counts['kills']}")
            if counts["kills"] % 20 == 0:
                say(f"{counts['kills']} kills, {found[0].name if found else 'nothing'}")
        n_epochs = int(found[0].name.split("epoch_")[1][:4]) + 2
        assert trainings.run("--resume", str(killed), f"--trainer.max_epochs={n_epochs}") == 0
        whole = [*OPTIONS, "--trainer.default_root_dir=whole", f"--trainer.max_epochs={n_epochs}"]
        assert trainings.run(*whole) == 0
        counts["batches"] = 10 * n_epochs
        counts["batches done again"] = batches_logged(run) - counts["batches"]
        ended, expected = contents(run), contents(newest_run(folder / "whole"))
        changed = differing(ended, expected)
        trainings.close()
    for name, count in counts.items():
        say(f"| {name} | {count} |")
    say(f"| of {len(expected)} parts of checkpoint, curves and sounds differ | {', '.join(changed) or 'none'} |")
    return bool(changed)


if __name__ == "__main__":
    sys.exit(main())
