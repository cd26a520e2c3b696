"""Equal cells along an axis: whole ones from end to end, ones that the axis cuts, and ones that run into each other."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from gan.sound.figure.grid import (
    MIN_CELLS,
    MIN_SMOOTHNESS,
    N_REFINED,
    Changes,
    Edges,
    Ends,
    Grid,
    Side,
    confidence_of,
    correlation_at,
    even_edges,
    fit,
    is_found,
    settled,
)

_N_PEAKS = 12
# In a JPEG thinner cells run into each other, and mirror images of larger ones look like them.
_MIN_LOSSY_CELL = 1.9
# Where pixels run into each other there are no edges for cells of two pixels, only their mirror images.
_MIN_BLURRED_CELL = 2.2
# Cells that a resize has blurred: 0.5 and more was measured. Interpolated cells: up to 0.35.
_MIN_BLURRED_CORRELATION = 0.45
# Thinner cells are only looked for between ends that are known: any place of the ends fits them.
_MIN_CUT_CELL = 1.5
# Part of the changes that lie on edges of cells under two pixels: 0.95 and more was measured, of mirror images 0.7.
_LEAST_EXPLAINED = 0.85
# By how much ends anywhere must fit better than ends where cells end.
_BETTER, _FAR_BETTER = 1.015, 1.05
# Of places of edges, in pixels.
_ROUNDING = 0.3
_N_COMBS = 6
# Edges of cells of nearly two pixels hang on hundredths of one.
_N_REFINEMENTS = 6
_STEPS = (-1, -0.5, 0, 0.5, 1)
_MIN_CELL = 1.02
_MAX_SURE = 0.975
# Part of a cell that an axis has to show of it, and the same in pixels beyond those by which its end may be off.
_LEAST_PART = 0.1
_LEAST_PIXELS = 0.5
_MAX_UNSEEN_PART = 0.3
# How far the peak of a spectrum stands out of its neighbours: 5 to 60 was measured for interpolated cells.
_MIN_PROMINENCE = 3.0
_SURE_PROMINENCE = 20.0
_BACKGROUND = 12
_MIN_SMOOTH_CELL = 2.05
# Relative: of the number of cells that was counted to the number that is known.
_NEAR = 0.05


def find_even_grid(side: Side) -> Grid | None:
    """Find the grid of equal cells that fits best; None if nothing repeats."""
    if side.changes.max(initial=0.0) <= 0:
        return None
    grid = _best_of_ends(side)
    if grid is None or side.smoothness <= MIN_SMOOTHNESS:
        return None if grid is None or _is_mirror_image(side, grid) else grid
    smooth = find_smooth_cells(side)
    blurred = is_found(grid) and grid.correlation > _MIN_BLURRED_CORRELATION
    return grid if blurred and (smooth is None or smooth.confidence < _LEAST_EXPLAINED) else smooth


def _is_mirror_image(side: Side, grid: Grid) -> bool:
    """Whether cells under two pixels are likely those of a coarser grid whose edges were blurred."""
    return not side.lossy and grid.pitch < _MIN_BLURRED_CELL and grid.confidence < _LEAST_EXPLAINED


def _best_of_ends(side: Side) -> Grid | None:
    """The best grid of cells with edges."""
    length = len(side.changes) + 1
    # The number of periods between the ends, n for whole cells and n - 1 for clipped ones.
    highest = length / _least_cell(side) if side.lossy or side.smoothness > MIN_SMOOTHNESS else length
    counts = [m for m in _periods(side.changes, length, side.slack) if MIN_CELLS <= m < highest]
    if side.slack:
        soft = _softened(side)
        counts.sort(key=lambda m: max(_unmoved(soft, even_edges(*cells)) for cells in _cells(m)), reverse=True)
        counts = counts[:N_REFINED]
    best = _fitted(side, counts)
    if best is not None and min(best.confidence, best.correlation) > _MAX_SURE:
        return best
    cut = _find_cut_cells(side)
    if cut is None or (best is not None and cut.correlation < _BETTER * best.correlation):
        return best
    whole = _fitted(side, [round(cut.shown)])
    if whole is not None and cut.correlation <= _how_much_better(side, cut, whole) * whole.correlation:
        return whole
    return cut if cut.pitch >= _MIN_CUT_CELL else best


def _how_much_better(side: Side, cut: Grid, whole: Grid) -> float:
    """By which factor cells that are cut must fit better than whole ones to be believed."""
    expected = 0.5 if whole.ends == "clipped" else 1.0
    last = cut.shown - (cut.n - 2) - cut.first
    off = cut.pitch * max(abs(cut.first - expected), abs(last - expected))
    if off > side.slack + _ROUNDING:
        return _BETTER
    # The ends of the axis are not known well enough to tell the two apart.
    return _FAR_BETTER if side.slack < 1 else math.inf


def _least_cell(side: Side) -> float:
    if side.smoothness > MIN_SMOOTHNESS:
        return _MIN_BLURRED_CELL
    return _MIN_LOSSY_CELL if side.lossy else _MIN_CELL


def _fitted(side: Side, counts: list[int]) -> Grid | None:
    grids = [fit(side, even_edges(*cells), cells[1]) for m in counts for cells in _cells(m)]
    return max(grids, key=lambda grid: grid.correlation, default=None)


def _cells(periods: int) -> Iterator[tuple[int, Ends]]:
    yield periods, "whole"
    yield periods + 1, "clipped"


def _softened(side: Side) -> Side:
    """An axis on which edges that are a pixel off still count."""
    return dataclasses.replace(side, changes=np.convolve(side.changes, [0.5, 1, 0.5], "same"))


def _unmoved(side: Side, edges: Edges) -> float:
    return correlation_at(side, side.low + (side.high - side.low) * edges)


def _periods(changes: Changes, length: int, slack: float) -> list[int]:
    """Numbers of periods that the spectrum of the changes hints at."""
    spectrum = np.abs(np.fft.rfft(changes - changes.mean(), length))
    spectrum[:MIN_CELLS] = 0
    peaks = np.argsort(spectrum)[::-1][:_N_PEAKS]
    # A peak may be an overtone, and of cells under two pixels it is a mirror image.
    hints = {m for f in map(int, peaks) for m in (f, length - f, f // 2, f // 3, f // 4, f // 5)}
    # Where the ends are known the number of periods is a whole one, and a place in the spectrum.
    return sorted({m + d for m in hints for d in ((-1, 0, 1) if slack else (0,))})


def _find_cut_cells(side: Side) -> Grid | None:
    """The grid of equal cells that fits best wherever the axis ends within them.

    Size and place of the cells are those of the strongest waves in the changes: an edge is at each of their crests.
    """
    changes = side.changes - side.mean
    n = 1 << math.ceil(math.log2(16 * len(changes)))
    spectrum = np.fft.rfft(changes, n)
    strength = np.abs(spectrum)
    strength[: MIN_CELLS * n // len(changes)] = 0
    peaks = np.flatnonzero((strength[1:-1] > strength[:-2]) & (strength[1:-1] >= strength[2:])) + 1
    peaks = peaks[np.argsort(strength[peaks])[::-1][:_N_PEAKS]]
    least = _least_cell(side)
    combs: list[tuple[float, float, float]] = []
    for peak in peaks:
        # Of cells under two pixels the peak is a mirror image.
        for frequency, phase in ((peak / n, np.angle(spectrum[peak])), (1 - peak / n, -np.angle(spectrum[peak]))):
            if frequency * least <= 1:
                place = float(-phase / (2 * np.pi * frequency)) + side.start + 1
                combs.append(_comb(side, 1 / frequency, place))
    if not combs:
        return None
    refined = [_refined(side, comb) for comb in sorted(combs, reverse=True)[:_N_COMBS]]
    correlation, pitch, place = max(refined)
    if correlation <= 0:
        return None
    inner = _inner_edges(side, pitch, place)
    if len(inner) < MIN_CELLS:
        return None
    confidence = confidence_of(side, inner)
    if side.low > side.high:
        inner = inner[::-1]
    part = max(_LEAST_PART * pitch, _LEAST_PIXELS, min(_LEAST_PIXELS + side.slack, _MAX_UNSEEN_PART * pitch))
    inner = inner[(np.abs(inner - side.low) > part) & (np.abs(inner - side.high) > part)]
    edges = np.concatenate([[side.low], settled(side, inner), [side.high]])
    return Grid(len(edges) - 1, "cut", edges, confidence, correlation, pitch)


def _comb(side: Side, pitch: float, place: float) -> tuple[float, float, float]:
    return correlation_at(side, _inner_edges(side, pitch, place)), pitch, place


def _inner_edges(side: Side, pitch: float, place: float) -> Edges:
    """Places of edges within the axis, ascending, one of which is at `place` or whole cells from it."""
    low, high = sorted((side.low, side.high))
    first, last = math.ceil((low - place) / pitch), math.floor((high - place) / pitch)
    return place + pitch * np.arange(first, last + 1, dtype=np.float64)


def _refined(side: Side, comb: tuple[float, float, float]) -> tuple[float, float, float]:
    middle = 0.5 * (side.low + side.high)
    stretch, shift = 0.15 * comb[1] ** 2 / len(side.changes), 0.1 * comb[1]
    for _ in range(_N_REFINEMENTS):
        _, pitch, place = comb
        # Cells are stretched around the middle, so that one does not move the other.
        place += pitch * round((middle - place) / pitch)
        comb = max(comb, *(_comb(side, pitch + a * stretch, place + b * shift) for a in (-1, 0, 1) for b in (-1, 0, 1)))
        stretch, shift = stretch / 2, shift / 2
    return comb


def find_smooth_cells(side: Side) -> Grid | None:
    """Find the grid of cells without edges: the picture bends most at their middles.

    Between these matplotlib's interpolation and a resize draw curves, its Gouraud shading straight lines.

    Returns:
        Whole cells, or clipped ones if the axis begins at the middle of one; None if nothing repeats.
    """
    from scipy.ndimage import median_filter

    length = len(side.bends)
    bends = (side.bends - side.bends.mean()) * np.hanning(length)
    n = 1 << math.ceil(math.log2(8 * length))
    spectrum = np.fft.rfft(bends, n)
    strength = np.abs(spectrum)
    background = median_filter(strength, int(2 * _BACKGROUND * n / length) | 1)
    prominence = strength / (background + 1e-9 * strength.max() + 1e-12)
    prominence[: math.ceil(MIN_CELLS * n / length)] = 0
    prominence[int(n / _MIN_SMOOTH_CELL) :] = 0
    peak = int(prominence.argmax())
    if prominence[peak] < _MIN_PROMINENCE:
        return None
    pitch = n / peak
    middle = float(-np.angle(spectrum[peak]) / (2 * np.pi) * pitch) + side.start + 1.5
    periods = round(abs(side.high - side.low) / pitch)
    ends: Ends = "whole" if 0.25 < abs(middle - side.low) / pitch % 1 < 0.75 else "clipped"
    n_cells = periods + (ends == "clipped")
    edges = side.low + (side.high - side.low) * even_edges(n_cells, ends)
    confidence = float(min(1.0, prominence[peak] / _SURE_PROMINENCE))
    return Grid(n_cells, ends, edges, confidence, 1.0, pitch, smooth=True)


def smooth_ends(side: Side, n: float) -> Ends:
    """How an axis of about n cells ends that run into each other: whole cells if they are too thin to be told."""
    smooth = find_smooth_cells(side) if side.smoothness > MIN_SMOOTHNESS else None
    if smooth is None or abs(smooth.n / n - 1) > _NEAR:
        return "whole"
    return smooth.ends
