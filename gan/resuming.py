"""What a training goes on from: a run that nobody else trains, its newest whole checkpoint, somebody's weights."""

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import LightningModule
from torch import Tensor

from gan.errors import InputError
from gan.run import Run
from gan.saved import load_checkpoint

_LOCK = ".lock"


def newest_undamaged(checkpoints: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
    """The first one that can be read, and what is in it; those that cannot be are named.

    Raises:
        InputError: If none can be read.
    """
    first, *others = checkpoints
    try:
        return first, load_checkpoint(first)
    except InputError as error:
        if not others:
            raise
        print(f"note: {error}; trying the one before it, {others[0].name}", file=sys.stderr)
    return newest_undamaged(others)


def put_aside_newer(run: Run, resumed: Path) -> None:
    """Rename what is newer than the checkpoint that a run goes on from, and damaged: it will be written again."""
    found = run.checkpoints()
    for path in found[: found.index(resumed)]:
        path.replace(path.with_name(f"{path.name}.damaged"))


def compare_made_by(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say what makes this process calculate other last digits than the one that saved a checkpoint.

    Args:
        before: What it was made by, see `gan.checkpoints.made_by`.
        now: The same of this process.
    """
    changed = [f"{name} {before[name]} (now {now[name]})" for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        print(f"note: the run was saved with {', '.join(changed)}: it goes on, but not to the bit as if never stopped")


@contextmanager
def keep_others_out(run: Run) -> Iterator[None]:
    """Make this process the only one that trains a run.

    A lock of the process, not of the file: processes that prepare batches, which outlive a killed training for some
    seconds, do not hold it.

    Args:
        run: The run, whose folder is there.

    Raises:
        InputError: If another process trains it.
    """
    with (run.folder / _LOCK).open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems have no locks.
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise InputError(
                    f"{run.folder}: it is being trained by {owner}; wait for that, or stop it first"
                ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def load_weights(module: LightningModule, path: Path) -> None:
    """Begin with a checkpoint's weights.

    Raises:
        InputError: If it cannot be read, or its weights are not those of the module's networks.
    """
    saved = load_checkpoint(path).get("state_dict")
    if not isinstance(saved, dict):
        raise InputError(f"{path}: a checkpoint without weights; those of `python train.py` have them")
    own = module.state_dict()
    # What is no tensor is a state of the training, as an augmentation's probability.
    sizes, wanted = (
        {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}
        for state in (saved, own)
    )
    differing = [
        f"{name} {sizes.get(name, 'is not there')} instead of {wanted.get(name, 'nothing')}"
        for name in sorted(sizes.keys() | wanted.keys())
        if sizes.get(name) != wanted.get(name)
    ]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise InputError(
            f"{path}: its weights do not fit the networks of this run: {', '.join(differing[:3])}{more}; "
            "use the options of the run that it is of"
        )
    module.load_state_dict(own | {name: saved[name] for name in sizes})
