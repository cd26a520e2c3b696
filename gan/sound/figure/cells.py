"""Averages of a figure's pixels inside its cells."""

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.grid import TIE, Grid
from gan.sound.figure.pixels import Pixels

# Rows of pixels of one cell that are averaged at most: enough to average out the noise of a JPEG.
_MAX_ROWS = 10
# How near to the border of two pixels both are averaged.
_BETWEEN_PIXELS = 0.25


def cell_means(
    pixels: Pixels, inside: tuple[int, int, int, int], row_grid: Grid, column_grid: Grid, margin: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
    """Mean colour inside each cell.

    matplotlib draws every cell up to the nearest pixels of its edges; cells thinner than a pixel may have none.

    Args:
        pixels: The picture.
        inside: Left, top, right and bottom of the spectrogram.
        row_grid: The rows, in pixels from the top; ascending or descending.
        column_grid: The columns, in pixels from the left, ascending.
        margin: Pixels at a cell's sides that are left out where it is large enough, because JPEG mixes neighbours.

    Returns:
        Which rows and which columns have pixels of their own, shapes (n_rows,) and (n_columns,), and the means of the
        cells in those, 0 to 255, with a third axis of 3 for pictures in colour.
    """
    left, top, right, bottom = inside
    rows = _spans(row_grid, top, bottom, margin, _MAX_ROWS)
    columns = _spans(column_grid, left, right, margin, None)
    has_row, has_column = rows[:, 1] > rows[:, 0], columns[:, 1] > columns[:, 0]
    starts = (columns[has_column] - left).reshape(-1)
    widths = np.diff(columns[has_column], axis=1)[:, 0]
    channels = () if pixels.grey else (3,)
    means = np.empty((int(has_row.sum()), len(widths), *channels), np.float32)
    for index, (first, last) in enumerate(rows[has_row]):
        strip = pixels.strip(left, int(first), right, int(last))
        # A sum of ten rows of bytes fits 16 bits; adding rows is faster than a sum over an axis.
        total = strip[0].astype(np.uint16)
        for row in strip[1:]:
            total += row
        # Odd entries are the sums between cells. A last start at the end would be out of range: one zero is appended.
        padded = np.concatenate([total, np.zeros((1, *channels), np.uint16)])
        sums = np.add.reduceat(padded, starts, axis=0, dtype=np.uint32)[::2]
        means[index] = sums / (widths * len(strip)).reshape(-1, *[1] * len(channels))
    return has_row, has_column, means


def _spans(grid: Grid, low: int, high: int, margin: int, longest: int | None) -> NDArray[np.intp]:
    """First and last (exclusive) pixel that is averaged for each cell, shape (n, 2)."""
    if grid.smooth and grid.pitch > 1:
        return _middles(grid, low, high)
    edges = grid.edges
    sides = np.sort(np.stack([edges[:-1], edges[1:]], axis=1), axis=1)
    # The pixel of an edge that lies in its middle is either cell's, as matplotlib's arithmetic happened to round.
    rounded: NDArray[np.intp] = np.floor(sides + 0.5 + np.array([TIE, -TIE])).astype(np.intp)
    spans = rounded.clip(low, high)
    size = (spans[:, 1] - spans[:, 0]).clip(0)
    spans[:, 1] = spans[:, 0] + size
    # Cells of three pixels keep one, smaller ones keep all.
    cut = np.minimum(margin, np.maximum(0, (size - 1) // 2))
    if longest is not None:
        cut = np.maximum(cut, (size - longest + 1) // 2)
    spans[:, 0] += cut
    spans[:, 1] -= cut
    return spans


def _middles(grid: Grid, low: int, high: int) -> NDArray[np.intp]:
    """The pixel at the middle of each cell, or the two beside it: the neighbours' colours reach into the others."""
    edges = grid.edges.copy()
    if grid.ends == "clipped":
        # The middle of a clipped cell is the end of the axis.
        edges[0] -= edges[1] - edges[0]
        edges[-1] += edges[-1] - edges[-2]
    middles = 0.5 * (edges[:-1] + edges[1:])
    near = np.rint(middles).astype(np.intp)
    first = np.where(np.abs(middles - near) < _BETWEEN_PIXELS, near - 1, np.floor(middles).astype(np.intp))
    first = first.clip(low, high - 1)
    last = np.where(np.abs(middles - near) < _BETWEEN_PIXELS, near + 1, np.floor(middles).astype(np.intp) + 1)
    return np.stack([first, last.clip(first + 1, high)], axis=1)


def between(values: NDArray[np.float32], has: NDArray[np.bool_], axis: int) -> NDArray[np.float32]:
    """Put lines that are missing between the nearest ones, weighted by nearness.

    Args:
        values: The lines that are there.
        has: Which of all lines are there.
        axis: Along which they lie.

    Returns:
        The values with len(has) lines along the axis.
    """
    if has.all():
        return values
    known = np.flatnonzero(has)
    places = np.arange(len(has))
    right = np.searchsorted(known, places).clip(0, len(known) - 1)
    lower = np.where(known[right] <= places, right, np.maximum(right - 1, 0))
    span = np.maximum(known[right] - known[lower], 1)
    shape = [1] * values.ndim
    shape[axis] = -1
    weight = ((places - known[lower]) / span).clip(0, 1).astype(np.float32).reshape(shape)
    filled: NDArray[np.float32] = np.take(values, lower, axis) * (1 - weight) + np.take(values, right, axis) * weight
    return filled


def between_columns(values: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Columns in steps of a part of a column from the first to the last, interpolated linearly.

    Args:
        values: Shape (n_rows, n_columns).
        step: In (0, 1].
    """
    places = np.arange(int((values.shape[1] - 1) / step + 1e-9) + 1) * step
    left = places.astype(np.intp).clip(0, max(0, values.shape[1] - 2))
    weight = (places - left).astype(np.float32)
    right = np.minimum(left + 1, values.shape[1] - 1)
    stretched: NDArray[np.float32] = values[:, left] * (1 - weight) + values[:, right] * weight
    return stretched
