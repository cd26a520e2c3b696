"""What was heard of runs: their clips, found, and thinned to what fits into a page."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from gan.errors import InputError
from gan.listen.clips import Clip, Clips, Moment
from gan.run import Run

_NAME = re.compile(r"(real|inverted|sample)_(\d{1,9})(?:_(.*))?", re.DOTALL)
_NEIGHBOUR = "_neighbour"


class Place(NamedTuple):
    """Which of a run's clips one is.

    Attributes:
        role: "real", "inverted", "sample" or "neighbour", a training crop that a sample is nearest to.
        number: Counts from 0; a sample and its neighbour have the same.
        label: What the sample should be of; empty if networks were told no labels.
    """

    role: str
    number: int
    label: str


@dataclass(frozen=True)
class History:
    """The clips of a run.

    Attributes:
        run: The run.
        references: Real sounds and the same inverted, by their names.
        moments: The epochs that were listened to, from first to last; at least one.
        halves: Files of clips whose other file is missing.
        n_moments: How many there were before it was thinned.
    """

    run: Run
    references: dict[str, Clip]
    moments: list[Moment]
    halves: list[Path]
    n_moments: int

    @classmethod
    def of(cls, run: Run) -> Self:
        """Find the clips of a run.

        Raises:
            InputError: If there are none.
        """
        if not run.folder.is_dir():
            raise InputError(f"{run.folder}: no such run; runs are folders like runs/2026-01-31_12-00-00")
        clips = Clips(run.folder)
        moments = [moment for moment in clips.moments() if moment.clips]
        if not moments:
            raise InputError(
                f"{run.folder}: nothing that was heard is kept in its folder 'listen': it is no run, has not ended an "
                "epoch, is of an older version, or was trained with listen.n_kept 0; go on with "
                f"`python train.py --resume {run.folder} --listen.n_kept 100` and what is heard from then on is kept"
            )
        references = clips.references()
        every = (references, *(moment.clips for moment in moments))
        whole = {path for some in every for clip in some.values() for path in clip}
        suffixes = {path.suffix for path in whole}
        found = {path for path in clips.folder.glob("*/*") if path.suffix in suffixes and not path.name.startswith(".")}
        # Where both are there, their folder is none of an epoch.
        halves = [path for path in found - whole if not _has_all(path, suffixes)]
        return cls(run, references, moments, sorted(halves), len(moments))

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.folder.resolve().name

    def thinned(self, most: int) -> Self:
        """The same with so many moments at most, evenly spread from first to last; one has neighbours if any has.

        Args:
            most: 1 or more; of one it is the last that is left.
        """
        last = len(self.moments) - 1
        if most > last:
            return self
        kept = set(np.linspace(last if most == 1 else 0, last, most).round().astype(int).tolist())
        with_neighbours = [index for index, moment in enumerate(self.moments) if any(map(_is_neighbour, moment.clips))]
        if with_neighbours and not kept & set(with_neighbours) and most > 2:
            # In the place of the nearest that may go.
            kept.remove(min(kept - {0, last}, key=lambda index: abs(index - with_neighbours[-1])))
            kept.add(with_neighbours[-1])
        return replace(self, moments=[self.moments[index] for index in sorted(kept)])

    @property
    def names(self) -> set[str]:
        """Names of the clips of all moments."""
        return {name for moment in self.moments for name in moment.clips}

    @property
    def n_bytes(self) -> int:
        """Size of all its files."""
        every = (self.references, *(moment.clips for moment in self.moments))
        return sum(_size(path) for clips in every for clip in clips.values() for path in clip)


def thin_to(histories: Sequence[History], most_bytes: float) -> list[History]:
    """Runs with as many moments as fit, the same number at most of each.

    Args:
        histories: The runs.
        most_bytes: Size of all files; it is exceeded if there is more already with one moment of each.
    """
    fits, too_many = 1, max(len(history.moments) for history in histories) + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if sum(history.thinned(middle).n_bytes for history in histories) <= most_bytes:
            fits = middle
        else:
            too_many = middle
    return [history.thinned(fits) for history in histories]


def places_in(clips: Mapping[str, Clip], names: Collection[str]) -> dict[Place, Clip]:
    """Clips by what they are, in the order of number and role; what is none of them is left out.

    Args:
        clips: By their names.
        names: Those of all clips of the run: a label may end as a neighbour's name does.
    """
    places = {}
    for name, clip in clips.items():
        of = name.removesuffix(_NEIGHBOUR)
        neighbour = of != name and of in names
        if found := _NAME.fullmatch(of if neighbour else name):
            role = "neighbour" if neighbour else found[1]
            places[Place(role, int(found[2]), found[3] or "")] = clip
    return dict(sorted(places.items(), key=lambda item: (item[0].number, item[0].role)))


def _has_all(path: Path, suffixes: Collection[str]) -> bool:
    return all(path.with_suffix(suffix).exists() for suffix in suffixes)


def _is_neighbour(name: str) -> bool:
    return name.endswith(_NEIGHBOUR)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # A training that goes on thins them out.
        return 0
