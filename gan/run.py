"""A run's folder: its config and its checkpoints.

`runs/<name>/config.yaml` is the whole configuration, `checkpoints/epoch_*.ckpt` weights, optimizers, counters and
spectrogram settings after an epoch, `checkpoints/in_epoch_*.ckpt` the same between two batches of the epoch under way,
`checkpoints/best.ckpt` of the epoch whose samples were nearest to the real ones, `events.out.tfevents.*` what
TensorBoard shows and plays, `evaluation.json` what `gan evaluate` found.
"""

import re
import time
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import yaml

from gan.errors import InputError
from gan.plain import made_of

# A configuration has 5 kB, and none of its parts so many keys.
_MOST_BYTES, _MOST_KEYS = 1 << 18, 10_000
# Epochs count from 0, batches are those of the whole run.
_WHOLE_EPOCHS = "epoch_*.ckpt"
_CHECKPOINT = re.compile(r"(in_)?epoch_(\d+)(?:_batch_(\d+))?\.ckpt")


class _Loader(yaml.SafeLoader):
    """Reads YAML whose merge keys (<<) do not multiply each other."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MOST_KEYS:
            raise yaml.constructor.ConstructorError(None, None, "its merge keys unfold to too many keys", None)


def read_yaml(path: Path) -> Any:
    """Read plain data: no tag in it makes anything.

    Raises:
        OSError, ValueError, yaml.YAMLError, RecursionError: If it cannot be read, or is larger than any configuration.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("no file")
    if size > _MOST_BYTES:
        raise ValueError(f"{size} bytes, where a configuration has at most {_MOST_BYTES}")
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)


@dataclass(frozen=True)
class Run:
    """The folder of one training run."""

    folder: Path

    @property
    def config(self) -> Path:
        """The run's whole configuration."""
        return self.folder / "config.yaml"

    def read_config(self) -> dict[str, Any]:
        """What stands in it, as plain data: nothing that it names is imported.

        Raises:
            InputError: If it is no configuration of a run.
        """
        try:
            config = read_yaml(self.config)
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise InputError(f"{self.config}: cannot be read as a run's configuration ({error})") from error
        parts = ("data", "model", "trainer")
        if not isinstance(config, dict) or not all(isinstance(config.get(name), dict) for name in parts):
            raise InputError(f"{self.config}: no configuration of a run, which has the parts data, model and trainer")
        made_of(int, config.get("seed_everything"), f"{self.config}: seed_everything")
        for name in ("images", "recordings", "store"):
            made_of(str | None, config["data"].get(name), f"{self.config}: data.{name}")
        made_of(int | None, config["trainer"].get("max_epochs"), f"{self.config}: trainer.max_epochs")
        return config

    @property
    def checkpoint_folder(self) -> Path:
        """Where its checkpoints are."""
        return self.folder / "checkpoints"

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint whose samples were nearest to the real ones, if there was an evaluation."""
        return self.checkpoint_folder / "best.ckpt"

    def whole_epochs(self) -> list[Path]:
        """The checkpoints after an epoch, the newest first."""
        return [path for path in self.checkpoints() if path.match(_WHOLE_EPOCHS)]

    def checkpoints(self) -> list[Path]:
        """All that a training can go on from, the newest first: those within an epoch too."""
        places = {}
        for path in self.checkpoint_folder.glob("*.ckpt"):
            if found := _CHECKPOINT.fullmatch(path.name):
                places[path] = int(found[2]), found[1] is None, int(found[3] or 0)
        return sorted(places, key=places.__getitem__, reverse=True)

    def newest_checkpoint(self) -> Path:
        """The checkpoint of the last whole epoch.

        Raises:
            InputError: If there is none yet.
        """
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such run; runs are folders like runs/2026-01-31_12-00-00")
        found = self.whole_epochs()
        if not found or not self.config.exists():
            raise InputError(f"{self.folder}: no checkpoint in it: the run was stopped before its first epoch ended")
        return found[0]


def checkpoints_of(path: Path) -> tuple[Run, dict[str, Path]]:
    """The run that a path means, and its checkpoints by their names: the newest, and the best if there is one.

    Args:
        path: A run's folder, or one of its checkpoints, which then is the only one.

    Raises:
        InputError: If there is none.
    """
    if path.suffix == ".ckpt":
        if not path.is_file():
            raise InputError(f"{path}: no such checkpoint")
        run = Run(path.parent.parent)
        if not run.config.exists():
            raise InputError(f"{path}: not in a run's folder, whose config.yaml says what its networks are")
        return run, {path.stem: path}
    run = Run(path)
    checkpoints = {"newest": run.newest_checkpoint()}
    return run, checkpoints | ({"best": run.best_checkpoint} if run.best_checkpoint.exists() else {})


def new_run(root: Path) -> Run:
    """A run below root that does not exist yet, named after the time."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return Run(next(root / name for name in names if not (root / name).exists()))


def newest_run(root: Path, in_epoch: bool = False) -> Run:
    """The run below root with the newest checkpoint.

    Args:
        root: A folder of runs.
        in_epoch: Whether checkpoints within an epoch count, which only a training can use.

    Raises:
        InputError: If no run has one.
    """
    pattern = f"*{_WHOLE_EPOCHS}" if in_epoch else _WHOLE_EPOCHS
    checkpoints = list(root.glob(f"*/checkpoints/{pattern}"))
    if not checkpoints:
        raise InputError(f"no run in {root} has a checkpoint; start one with `python train.py`")
    return Run(max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent.parent)
