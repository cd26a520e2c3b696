"""Which stretch of which recording a figure shows, from its file name.

`song.mp3120.jpg` is the figure of the window of song.mp3 that ends at second 120. A recording's last window ends at
its end, which is a fraction of a second, as in `song.mp3187.35863945578232.jpg`, and overlaps the one before it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from gan.sound.recording import SUFFIXES, UNREAD_SUFFIXES
from gan.sound.settings import SpectrogramSettings

_SUFFIXES = SUFFIXES | UNREAD_SUFFIXES
# The longest suffix first: of two that fit, the longer one is meant.
_ANY_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(_SUFFIXES, key=len, reverse=True))
_NAME = re.compile(rf"((?:.*/)?[^/]+?(?:{_ANY_SUFFIX}))(\d+(?:\.\d+)?)", re.IGNORECASE | re.DOTALL)


class Place(NamedTuple):
    """Where a figure's sound was.

    Attributes:
        recording: Path of the recording: the folder of the figure and the recording's file name.
        start_second: Where it starts in the recording.
    """

    recording: str
    start_second: float


class _Figure(NamedTuple):
    file: str
    number: float
    n_frames: int


def places(n_frames: Mapping[str, int], settings: SpectrogramSettings) -> dict[str, Place]:
    """Work out where each figure's sound was.

    The length of a window is not in its name, and its number of frames tells it to one hop only. It is taken to be
    the step from one name of a recording to the next (60 s) where that agrees with the frames to one hop, and else
    what the frames say. Numbers of a recording that are too small to be the ends of its windows count its windows.

    Args:
        n_frames: Width of each figure by its path, with forward slashes.
        settings: The figures' grid.

    Returns:
        The place by the path. A name of another form is a recording of its own that starts at 0.
    """
    recordings: dict[str, list[_Figure]] = defaultdict(list)
    found = {}
    for file, width in n_frames.items():
        name = _NAME.fullmatch(file.rpartition(".")[0])
        if name is None:
            found[file] = Place(file, 0.0)
        else:
            recordings[name[1]].append(_Figure(file, float(name[2]), width))
    steps = Counter(step for figures in recordings.values() for step in _steps(figures))
    hop = settings.hop_length / settings.sample_rate
    windows = {width: _window(width, steps, settings) for width in set(n_frames.values())}
    for recording, figures in recordings.items():
        if all(figure.number > windows[figure.n_frames] - 2 * hop for figure in figures):
            starts = [max(0.0, figure.number - windows[figure.n_frames]) for figure in figures]
        else:
            length = max(figure.n_frames for figure in figures) * hop
            starts = [figure.number * length for figure in figures]
        for figure, start in zip(figures, starts, strict=True):
            found[figure.file] = Place(recording, start)
    return found


def _steps(figures: list[_Figure]) -> list[float]:
    """Seconds from one number of a recording to the next; the first window starts at 0."""
    numbers = sorted({0.0, *(figure.number for figure in figures)})
    # Rounded, so that the same step has the same name.
    return [round(later - earlier, 6) for earlier, later in pairwise(numbers)]


def _window(n_frames: int, steps: Counter[float], settings: SpectrogramSettings) -> float:
    """Length in seconds of a window of so many frames."""
    hop = settings.hop_length / settings.sample_rate
    # Shortest and longest sound of so many frames, which lie one hop apart, and one hop more for both.
    shortest = settings.n_samples(n_frames) / settings.sample_rate - hop
    fitting = [(count, -step) for step, count in steps.items() if shortest <= step <= shortest + 3 * hop]
    return -max(fitting)[1] if fitting else settings.n_samples(n_frames) / settings.sample_rate
