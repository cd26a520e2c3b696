"""How many cells a drawn spectrogram has along an axis and where they lie, from where its pixels change."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.pixels import Pixels

Edges = NDArray[np.float64]
Changes = NDArray[np.float64]
# Whole cells: n of them fill the axis (matplotlib's mesh with n + 1 edges, librosa >= 0.9). Clipped: the axis ends in
# the middle of the first and of the last cell (librosa <= 0.8 for frequencies). Cut: it ends anywhere within them
# (set_xlim, set_ylim).
Ends = Literal["whole", "clipped", "cut"]

_N_LINES = 96
# Of red, green and blue (ITU-R BT.601, as in JPEG).
_LIGHT = (0.299, 0.587, 0.114)
# One large step must not outweigh many small ones.
_MAX_CHANGE = 24
N_REFINED = 12
MIN_CELLS = 8
# Rounding of the places of edges, in pixels.
TIE = 1e-6
_MIN_UNEVEN_CELL = 1.5
# Changes at edges to those elsewhere in a JPEG: 1.5 was measured where there was no grid, 1.8 at the faintest one.
_MIN_CONTRAST = 1.3
_BLOCK_TOLERANCE = 0.01
_MIN_BLOCK_EXPLAINED = 0.75
# A grid that explains less than this is no grid.
MIN_CONFIDENCE = 0.4
_MIN_CORRELATION = 0.2
# Measured: matplotlib's interpolation 0.3 to 0.8, cells with edges -0.3 to 0.15, resized by a factor of 1.3 up to 0.5.
MIN_SMOOTHNESS = 0.25


@dataclass(frozen=True)
class Grid:
    """Cells along one axis.

    Attributes:
        n: Number of cells.
        ends: Whether the first and the last are whole.
        edges: Shape (n + 1,), ascending, in pixels from the picture's left or top.
        confidence: 1 if all changes of the pixels lie on the edges; 0 if the changes know nothing of them.
        correlation: Of the changes with the edges; ranks grids.
        pitch: Size of a whole cell in pixels; the median where they differ.
        smooth: Whether the picture runs from one cell into the next (matplotlib's interpolation, a resize).
    """

    n: int
    ends: Ends
    edges: Edges
    confidence: float
    correlation: float
    pitch: float
    smooth: bool = False

    @property
    def cell(self) -> float:
        """Median height or width of a cell in pixels."""
        return float(np.median(np.abs(np.diff(self.edges))))

    @property
    def shown(self) -> float:
        """Number of cells between the ends of the axis, parts of cells included."""
        return float(abs(self.edges[-1] - self.edges[0]) / self.pitch)

    @property
    def first(self) -> float:
        """Part of the first cell that the axis shows, in (0, 1]."""
        return float(min(1.0, abs(self.edges[1] - self.edges[0]) / self.pitch))


@dataclass(frozen=True)
class Side:
    """The extent of a spectrogram along one axis.

    Attributes:
        changes: Shape (length - 1,): how much the pixels change between positions start + i and start + i + 1.
        start: First pixel.
        low: Where the axis begins, to a fraction of a pixel.
        high: Where it ends.
        slack: By how many pixels `low` and `high` may be off.
        lossy: Whether the picture is a JPEG, whose pixels change a little everywhere.
        smoothness: Correlation of neighbouring steps from pixel to pixel: near 0 where cells have edges or are noise,
            above `MIN_SMOOTHNESS` where one runs into the next.
        bends: Shape (length - 2,): how much the change of the pixels changes at position start + i + 1.
    """

    changes: Changes
    start: int
    low: float
    high: float
    slack: float
    lossy: bool
    smoothness: float
    bends: Changes

    @cached_property
    def mean(self) -> float:
        """Of the changes."""
        return float(self.changes.mean())

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the changes."""
        return float(self.changes.std())


def changes_along(
    pixels: Pixels, inside: tuple[int, int, int, int], vertical: bool, lossy: bool
) -> tuple[Changes, float, Changes]:
    """Measure how much neighbouring pixels differ along an axis, over lines spread across the other.

    Returns:
        The mean absolute changes, shape (length - 1,), the smoothness and the bends as in `Side`.
    """
    left, top, right, bottom = inside
    if vertical:
        places = np.unique(np.linspace(left, right - 1, _N_LINES).astype(int))
        lines = np.stack([pixels.strip(x, top, x + 1, bottom)[:, 0] for x in places])
    else:
        places = np.unique(np.linspace(top, bottom - 1, _N_LINES).astype(int))
        lines = np.stack([pixels.strip(left, y, right, y + 1)[0] for y in places])
    if lossy and lines.ndim == 3:
        # A JPEG's colours change with its blocks of two pixels; its light does not.
        lines = np.rint(lines @ np.array(_LIGHT, np.float32))
    steps = np.abs(np.diff(lines.astype(np.int16), axis=1))
    largest = steps if steps.ndim == 2 else steps.max(axis=-1)
    changes: Changes = np.minimum(largest, _MAX_CHANGE).mean(axis=0, dtype=np.float64)
    light = lines.astype(np.float32)
    if light.ndim == 3:
        light = light @ np.array(_LIGHT, np.float32)
    signed = np.diff(light, axis=1)
    power = float(np.square(signed).sum(dtype=np.float64))
    smoothness = float((signed[:, 1:] * signed[:, :-1]).sum(dtype=np.float64)) / power if power else 0.0
    bends: Changes = np.minimum(np.abs(np.diff(signed, axis=1)), _MAX_CHANGE).mean(axis=0, dtype=np.float64)
    return changes, smoothness, bends


def even_edges(n: int, ends: Ends) -> Edges:
    """Edges of n equal cells on an axis from 0 to 1."""
    if ends == "whole":
        return np.arange(n + 1) / n
    return np.clip((np.arange(n + 1) - 0.5) / (n - 1), 0, 1)


def find_grid(side: Side, candidates: list[tuple[int, Ends]], edges: Callable[[int, Ends], Edges]) -> Grid | None:
    """The best of some grids, for axes whose cells are not equal.

    Args:
        side: The axis.
        candidates: Numbers of cells and how the axis ends.
        edges: Gives a candidate's edges on an axis from 0 to 1.
    """
    moves = (-side.slack, 0.0, side.slack) if side.slack else (0.0,)

    def rough(candidate: tuple[int, Ends]) -> float:
        places = edges(*candidate)
        return max(_moved(side, places, low, high)[0] for low in moves for high in moves)

    ranked = sorted(candidates, key=rough, reverse=True)
    grids = [fit(side, edges(*candidate), candidate[1]) for candidate in ranked[:N_REFINED]]
    return max(grids, key=lambda grid: grid.correlation, default=None)


def fit(side: Side, edges: Edges, ends: Ends) -> Grid:
    """Move the ends of an axis within their slack to where a grid fits best.

    Args:
        side: The axis.
        edges: Shape (n + 1,), from 0 to 1.
        ends: How the axis ends.
    """
    best = (correlation_at(side, side.low + (side.high - side.low) * edges), 0.0, 0.0)
    step = side.slack
    while step > 0.1:
        _, low, high = best
        trials = step * np.linspace(-1, 1, 5 if step < side.slack else 9)
        best = max(best, *(_moved(side, edges, low + a, high + b) for a in trials for b in trials))
        step *= 0.3
    correlation, low, high = best
    places = side.low + low + (side.high + high - side.low - low) * edges
    return Grid(
        len(edges) - 1,
        ends,
        settled(side, places),
        confidence_of(side, places) if correlation > 0 else 0.0,
        correlation,
        _pitch(places),
    )


def assumed(side: Side, edges: Edges, ends: Ends = "whole") -> Grid:
    """A grid that the picture does not show, from end to end."""
    places = side.low + (side.high - side.low) * edges
    return Grid(len(edges) - 1, ends, places, 0.0, 0.0, _pitch(places), side.smoothness > MIN_SMOOTHNESS)


def _pitch(places: Edges) -> float:
    return float(np.median(np.abs(np.diff(places))))


def _moved(side: Side, edges: Edges, low: float, high: float) -> tuple[float, float, float]:
    # Of ends that fit about equally the nearer ones are right.
    reluctance = 0.03 * (abs(low) + abs(high))
    places = side.low + low + (side.high + high - side.low - low) * edges
    return correlation_at(side, places) - reluctance, low, high


def settled(side: Side, places: Edges) -> Edges:
    """Edges of which none lies in the middle of a pixel, where matplotlib's arithmetic may round either way.

    Those that do are moved towards the side where the pixels change more.
    """
    ties = np.flatnonzero(np.abs(places - np.floor(places) - 0.5) < TIE)
    if len(ties) == 0:
        return places
    padded = np.pad(side.changes, 1)
    lower = (np.floor(places[ties]).astype(np.intp) - side.start).clip(0, len(side.changes))
    settled = places.copy()
    settled[ties] += np.where(padded[lower + 1] > padded[lower], 1000 * TIE, -1000 * TIE)
    return settled


def _on_edges(side: Side, places: Edges) -> NDArray[np.bool_]:
    """Which of the changes lie on edges: matplotlib moves every edge to the nearest pixel."""
    rounded = np.floor(settled(side, places) + 0.5).astype(np.intp) - side.start - 1
    on = np.zeros(len(side.changes), np.bool_)
    on[rounded[(rounded >= 0) & (rounded < len(on))]] = True
    return on


def correlation_at(side: Side, places: Edges) -> float:
    """Correlation of the changes with edges at some places."""
    on = _on_edges(side, places)
    n, length = int(on.sum()), len(on)
    if not 4 <= n <= length - 4 or side.spread == 0:
        return 0.0
    covariance = float(side.changes[on].sum()) / length - n / length * side.mean
    return covariance / (side.spread * math.sqrt(n / length * (1 - n / length)))


def confidence_of(side: Side, places: Edges) -> float:
    """How surely the grid is there, 0 to 1."""
    on = _on_edges(side, places)
    changes = side.changes
    sizes = np.abs(np.diff(places))
    if sizes.max() > 2 * sizes.min():
        # Where cells are thinner than pixels everything is an edge, and proves nothing.
        thick = np.flatnonzero(sizes >= _MIN_UNEVEN_CELL)
        if len(thick) < MIN_CELLS:
            return 0.0
        ends = np.sort([places[thick[0]], places[thick[-1] + 1]]).astype(int) - side.start
        part = slice(max(0, int(ends[0])), max(0, int(ends[1])))
        on, changes = on[part], changes[part]
    share = on.mean() if len(on) else 0.0
    total = float(changes.sum())
    if not 0 < share < 1 or total == 0:
        return 0.0
    explained = (float(changes[on].sum()) / total - share) / (1 - share)
    contrast = 0.0
    if side.lossy:
        # JPEG spreads an edge over its neighbours, but the middle of a cell stays calmer than its edges.
        calm = ~np.convolve(on, [True, True, True], "same") if share < 0.3 else ~on
        contrast = float(changes[on].mean() / changes[calm].mean()) if changes[calm].any() else 1.0
        # Every JPEG repeats with its blocks of eight pixels.
        if np.abs(places[1:-1] / 8 - np.rint(places[1:-1] / 8)).max() < _BLOCK_TOLERANCE:
            contrast = 0.0
            explained = explained if explained > _MIN_BLOCK_EXPLAINED else 0.0
    return float(np.clip(max(explained, contrast - _MIN_CONTRAST), 0, 1))


def is_found(grid: Grid | None) -> TypeGuard[Grid]:
    """Whether a grid is really there."""
    return grid is not None and grid.confidence >= MIN_CONFIDENCE and grid.correlation >= _MIN_CORRELATION
