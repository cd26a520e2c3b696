"""Integration of the phase's derivatives from the loudest cell outwards.

Algorithm 1 of Prusa, Balazs, Soendergaard 2017. The paper's heap is a queue of steps of level here: the cell to go on
from is the latest one among the loudest, where levels within a step are alike. That needs no comparisons, and follows
a partial along before it spreads beside it, which brings the waveform half a dB nearer.
"""

import numba
import numpy as np
from numpy.typing import NDArray

# About 2 dB: half or twice as wide is 0.2 to 1 dB worse.
_STEPS_PER_UNIT = np.float32(4.0)
_HALF = np.float32(0.5)
_TWO_PI = 2.0 * np.pi
# States of a cell in `link`; else the next cell of the same step in the queue, or none.
_NONE = -1
_UNKNOWN = -2
_LEFT = -3

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]


@numba.njit(nogil=True, cache=True)
def integrate(
    level: Floats,
    phase: Floats,
    chosen: NDArray[np.bool_],
    time_factor: np.float32,
    frequency_factor: np.float32,
    hop_length: int,
    n_fft: int,
) -> None:
    """Find the phase of chosen cells.

    Args:
        level: Natural logarithm of the magnitude, shape (n_frames, n_freqs), contiguous.
        phase: Shape of the level, contiguous. That of the chosen cells is overwritten, with the phase at the middle of
            each frame, in radians.
        chosen: Which cells to integrate over, shape of the level, contiguous.
        time_factor: What the level's derivative by the bin is multiplied with: advance of the phase from one frame to
            the next, beside that of the bin's own frequency.
        frequency_factor: What the level's derivative by the frame is multiplied with: advance from one bin to the next.
        hop_length: Samples from one frame to the next.
        n_fft: Length of one Fourier transform in samples.
    """
    n_frames, n_freqs = level.shape
    n_cells = level.size
    by_time, by_frequency = _derivatives(level, time_factor, frequency_factor)
    by_time, by_frequency = by_time.ravel(), by_frequency.ravel()
    steps = np.empty(n_cells, np.int16)
    link = np.empty(n_cells, np.int32)
    seeds, head = _sort_by_level(level.ravel(), chosen.ravel(), steps, link)
    # Phases are kept without the advance of the bins' own frequencies, and so stay small enough for float32.
    phases = phase.ravel()
    for seed in seeds:
        if link[seed] != _UNKNOWN:
            continue
        phases[seed] = 0.0
        top = _push(seed, steps, link, head, 0)
        while top >= 0:
            i = head[top]
            if i == _NONE:
                top -= 1
                continue
            head[top] = link[i]
            frame = i // n_freqs
            k = i - frame * n_freqs
            turn = np.float32(_TWO_PI * ((frame * hop_length) % n_fft) / n_fft)
            j = i + n_freqs
            if j < n_cells and link[j] == _UNKNOWN:
                phases[j] = phases[i] + _HALF * (by_time[i] + by_time[j])
                top = _push(j, steps, link, head, top)
            j = i - n_freqs
            if j >= 0 and link[j] == _UNKNOWN:
                phases[j] = phases[i] - _HALF * (by_time[i] + by_time[j])
                top = _push(j, steps, link, head, top)
            j = i + 1
            if k + 1 < n_freqs and link[j] == _UNKNOWN:
                phases[j] = phases[i] + _HALF * (by_frequency[i] + by_frequency[j]) - turn
                top = _push(j, steps, link, head, top)
            j = i - 1
            if k > 0 and link[j] == _UNKNOWN:
                phases[j] = phases[i] - _HALF * (by_frequency[i] + by_frequency[j]) + turn
                top = _push(j, steps, link, head, top)
    for frame in range(n_frames):
        for k in range(n_freqs):
            if chosen[frame, k]:
                turns = ((frame * hop_length) % n_fft * k) % n_fft
                phase[frame, k] += np.float32(_TWO_PI * turns / n_fft)


@numba.njit(nogil=True, cache=True)
def _derivatives(level: Floats, time_factor: np.float32, frequency_factor: np.float32) -> tuple[Floats, Floats]:
    """Of the phase, by the frame and by the bin, from the level's differences over two cells."""
    n_frames, n_freqs = level.shape
    by_time, by_frequency = np.empty_like(level), np.empty_like(level)
    for frame in range(n_frames):
        before, behind = max(frame - 1, 0), min(frame + 1, n_frames - 1)
        factor = frequency_factor / np.float32(max(1, behind - before))
        for k in range(n_freqs):
            by_frequency[frame, k] = factor * (level[behind, k] - level[before, k])
        # The spectrum of a real signal is even: its level is flat at both ends.
        by_time[frame, 0] = by_time[frame, n_freqs - 1] = 0.0
        for k in range(1, n_freqs - 1):
            by_time[frame, k] = time_factor * _HALF * (level[frame, k + 1] - level[frame, k - 1])
    return by_time, by_frequency


@numba.njit(nogil=True, cache=True)
def _sort_by_level(
    level: Floats, chosen: NDArray[np.bool_], steps: NDArray[np.int16], link: Indices
) -> tuple[Indices, Indices]:
    """Fill in each cell's step and state; returns the chosen cells by falling step, and an empty queue."""
    lowest = highest = level.max()
    for i in range(level.size):
        if chosen[i]:
            lowest = min(lowest, level[i])
    n_steps = int((highest - lowest) * _STEPS_PER_UNIT) + 1
    n_of_step = np.zeros(n_steps, np.int64)
    for i in range(level.size):
        link[i] = _LEFT
        if chosen[i]:
            link[i] = _UNKNOWN
            steps[i] = int((level[i] - lowest) * _STEPS_PER_UNIT)
            n_of_step[steps[i]] += 1
    place = np.empty(n_steps, np.int64)
    n_chosen = 0
    for step in range(n_steps - 1, -1, -1):
        place[step] = n_chosen
        n_chosen += n_of_step[step]
    cells = np.empty(n_chosen, np.int32)
    for i in range(level.size):
        if chosen[i]:
            cells[place[steps[i]]] = i
            place[steps[i]] += 1
    return cells, np.full(n_steps, _NONE, np.int32)


@numba.njit(nogil=True, cache=True)
def _push(i: int, steps: NDArray[np.int16], link: Indices, head: Indices, top: int) -> int:
    """Queue a cell whose phase is known; returns the highest step that is not empty."""
    step: int = steps[i]
    link[i] = head[step]
    head[step] = i
    return max(top, step)
