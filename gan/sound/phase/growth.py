"""Phases grown from steps between neighbouring cells, the most certain cells first.

PGHI's idea with three changes. A step has a weight, how certain it is. All neighbours that are known have a say in a
cell's phase, not only the first one. And the next cell is the one whose phase is known best so far, not the loudest.
"""

import numba
import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

_NO_TURN = np.complex64(1.0)
_TINY = np.float32(1e-30)
_NONE = -1
_KNOWN = -1
# Evidence is queued by its power, four steps an octave: the float's exponent and first two bits of its fraction.
_BITS = 21
_N_STEPS = 1024


@numba.njit(nogil=True, cache=True)
def neighbours(chosen: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Number the chosen cells and find which are beside which.

    Args:
        chosen: Shape (n_frames, n_freqs).

    Returns:
        Their places in the flat array, ascending, shape (n_cells,); and the numbers of their neighbours: next frame,
        frame before, next frequency, frequency below, shape (n_cells, 4); -1 where that one is not chosen.
    """
    n_frames, n_freqs = chosen.shape
    number = np.full(n_freqs, _NONE, np.int32)
    n_cells = 0
    for frame in range(n_frames):
        for k in range(n_freqs):
            n_cells += chosen[frame, k]
    places = np.empty(n_cells, np.int32)
    beside = np.full((n_cells, 4), _NONE, np.int32)
    cell = 0
    for frame in range(n_frames):
        below = _NONE
        for k in range(n_freqs):
            if not chosen[frame, k]:
                number[k] = below = _NONE
                continue
            places[cell] = frame * n_freqs + k
            before = number[k]
            if before != _NONE:
                beside[before, 0] = cell
            if below != _NONE:
                beside[below, 2] = cell
            beside[cell, 1] = before
            beside[cell, 3] = below
            number[k] = below = cell
            cell += 1
    return places, beside


@numba.njit(nogil=True, cache=True, fastmath=True)
def grow(magnitude: Floats, steps: Complex, beside: Indices, known: Complex) -> Complex:
    """Find a phase for each cell.

    Args:
        magnitude: Shape (n_cells,), > 0.
        steps: Shape (n_cells, 2): e^(i d) times how certain it is, where d is the phase's step from a cell to the one
            of the next frame, and to that of the next frequency. Steps to what is no cell are not looked at.
        beside: As of `neighbours`.
        known: e^(i phase) of the first cells, which the others go on from; may be empty.

    Returns:
        e^(i phase), shape (n_cells,), that of the first cells as it was given.
    """
    n_cells = len(magnitude)
    evidence = np.zeros(n_cells, np.complex64)
    # The step of the queue that a cell was put into last; a later one counts, entries of earlier ones are passed over.
    queued = np.zeros(n_cells, np.int16)
    link = np.empty(4 * n_cells, np.int32)
    head = np.full(_N_STEPS, _NONE, np.int32)
    number = np.empty(1, np.float32)
    bits = number.view(np.int32)
    highest = _step_of(magnitude.max() ** 2 * np.float32(1e4), number, bits, 0) - _N_STEPS + 1
    seeds = _by_falling_magnitude(magnitude, number, bits)
    n_known, n_told, n_tried, top = len(known), 0, 0, 0
    evidence[:n_known] = known
    queued[:n_known] = _KNOWN
    while True:
        i = _NONE
        if n_told < n_known:
            i = n_told
            n_told += 1
        while top > 0 and i == _NONE:
            entry = head[top]
            if entry == _NONE:
                top -= 1
                continue
            head[top] = link[entry]
            if queued[entry // 4] == top:
                i = entry // 4
        while n_tried < n_cells and i == _NONE:
            if queued[seeds[n_tried]] != _KNOWN:
                i = seeds[n_tried]
                evidence[i] = 1.0
            n_tried += 1
        if i == _NONE:
            return evidence
        queued[i] = _KNOWN
        power = evidence[i].real ** 2 + evidence[i].imag ** 2
        turn = evidence[i] / np.float32(np.sqrt(power)) if power > _TINY else _NO_TURN
        evidence[i] = turn
        for side in range(4):
            j = beside[i, side]
            if j == _NONE or queued[j] == _KNOWN:
                continue
            axis = side // 2
            step = steps[i, axis] if side % 2 == 0 else np.conj(steps[j, axis])
            evidence[j] += min(magnitude[i], magnitude[j]) * (turn * step)
            power = evidence[j].real ** 2 + evidence[j].imag ** 2
            place = _step_of(power, number, bits, highest)
            if place > queued[j]:
                queued[j] = place
                link[4 * j + side] = head[place]
                head[place] = 4 * j + side
                top = max(top, place)


@numba.njit(nogil=True, cache=True)
def _step_of(power: np.float32, number: Floats, bits: Indices, lowest: int) -> int:
    """The step of a power, from 1 to the last one."""
    number[0] = power
    step: int = min(max((bits[0] >> _BITS) - lowest, 1), _N_STEPS - 1)
    return step


@numba.njit(nogil=True, cache=True)
def _by_falling_magnitude(magnitude: Floats, number: Floats, bits: Indices) -> Indices:
    """Cells, the loudest ones first, to a few tenths of an octave."""
    n_cells = len(magnitude)
    highest = _step_of(magnitude.max() ** 2, number, bits, 0)
    place = np.zeros(_N_STEPS + 1, np.int64)
    steps = np.empty(n_cells, np.int16)
    for i in range(n_cells):
        steps[i] = highest - _step_of(magnitude[i] ** 2, number, bits, 0)
        place[steps[i] + 1] += 1
    place = np.cumsum(place)
    cells = np.empty(n_cells, np.int32)
    for i in range(n_cells):
        cells[place[steps[i]]] = i
        place[steps[i]] += 1
    return cells
