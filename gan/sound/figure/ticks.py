"""Tick marks beside a spectrogram: they tell to a fraction of a pixel where its frequency axis begins.

matplotlib moves every line to whole pixels, the frame and the ticks alike, so that one of them alone is known to half a
pixel, which may be two frequencies of a small figure. Evenly spaced ticks, each moved by another fraction, leave little
room for where they were.
"""

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.box import Box
from gan.sound.figure.pixels import Pixels

_CONTRAST = 60
_MIN_TICKS = 3
# Columns beside the frame that a tick crosses: ticks of 3.5 points are at least 3 pixels long.
_DEPTH = 3
_STEPS = 101
_MAX_ROOM = 0.67


def lowest_tick(pixels: Pixels, box: Box) -> float | None:
    """Find where the lowest tick of the frequency axis is, if evenly spaced ticks lie left of the box.

    Args:
        pixels: The picture.
        box: The box, with a frame.

    Returns:
        Its place in pixels from the top, to a third of a pixel; None if there are no such ticks, they do not say it so
        exactly, or the lowest one is not where the axis begins.
    """
    places = _tick_places(pixels, box)
    if places is None or abs(places[0] - box.edges[3]) > 1.5:
        return None
    # Every place is the nearest whole number to first + k * spacing: those that are so for all k.
    k = np.arange(len(places))
    low, high = places - 0.5, places + 0.5
    first = np.linspace(low[0], high[0], _STEPS)[:, None]
    from_, to = ((low[1:] - first) / k[1:]).max(axis=1), ((high[1:] - first) / k[1:]).min(axis=1)
    possible = from_ <= to
    if not possible.any() or np.ptp(first[possible, 0]) > _MAX_ROOM:
        return None
    # In the middle of what is possible, each place weighted with how many spacings go with it.
    weights = (to - from_)[possible] + 1e-9
    return float(np.average(first[possible, 0], weights=weights))


def _tick_places(pixels: Pixels, box: Box) -> NDArray[np.float64] | None:
    """Rows that the ticks were moved to, from the bottom up, as matplotlib counts: the upper edge of an odd line."""
    left = int(np.floor(box.edges[0])) - 1
    if left < _DEPTH + 1:
        return None
    top, bottom = max(0, box.inside[1] - 8), min(pixels.height, box.inside[3] + 8)
    strip = pixels.strip(left - _DEPTH, top, left, bottom).astype(np.int16)
    lines = strip.reshape(*strip.shape[:2], -1).mean(axis=-1)
    contrast = np.abs(lines - np.median(lines)).min(axis=1)
    marked = np.flatnonzero(contrast > _CONTRAST)
    if len(marked) < _MIN_TICKS:
        return None
    runs = np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1)
    width = int(np.median([len(run) for run in runs]))
    if any(abs(len(run) - width) > 1 for run in runs) or len(runs) < _MIN_TICKS:
        return None
    middles = np.array([run.mean() + 0.5 for run in runs])[::-1] + top
    spacings = -np.diff(middles)
    if np.ptp(spacings) > 2:
        return None
    return middles - (0.5 if width % 2 else 0.0)
