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
# Pixels beyond the box's ends where marks still belong to it.
_REACH = 8
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
    """Rows that the ticks were moved to, from the bottom up; None unless they are alike and evenly spaced."""
    places, widths = tick_marks(pixels, box, vertical=True)
    if len(places) < _MIN_TICKS or np.abs(widths - int(np.median(widths))).max() > 1:
        return None
    places = places[::-1]
    return None if np.ptp(np.diff(places)) > 2 else places


def tick_marks(
    pixels: Pixels, box: Box, vertical: bool, depth: int = _DEPTH
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Find the tick marks left of a box or below it.

    Args:
        pixels: The picture.
        box: The box.
        vertical: Whether to look left of it instead of below.
        depth: How many pixels long they are at least.

    Returns:
        Their places in pixels from the top or from the left, ascending, as matplotlib counts: the upper or left edge of
        the middle pixel of an odd line; and how many pixels wide they are. Both are empty without marks.
    """
    none = np.empty(0), np.empty(0, np.intp)
    end = outer_end(box, vertical)
    if vertical:
        start, stop = max(0, box.inside[1] - _REACH), min(pixels.height, box.inside[3] + _REACH)
        if end < depth + 1:
            return none
        strip = pixels.strip(end - depth, start, end, stop)
    else:
        start, stop = max(0, box.inside[0] - _REACH), min(pixels.width, box.inside[2] + _REACH)
        if end + depth + 1 > pixels.height:
            return none
        strip = pixels.strip(start, end, stop, end + depth).swapaxes(0, 1)
    strip = strip.astype(np.int16)
    lines = strip.reshape(*strip.shape[:2], -1).mean(axis=-1)
    contrast = np.abs(lines - np.median(lines)).min(axis=1)
    marked = np.flatnonzero(contrast > _CONTRAST)
    if len(marked) == 0:
        return none
    runs = np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1)
    widths = np.array([len(run) for run in runs])
    middles = np.array([run.mean() + 0.5 for run in runs]) + start
    return middles - (0.5 if int(np.median(widths)) % 2 else 0.0), widths


def outer_end(box: Box, vertical: bool) -> int:
    """Column left of a box's frame, or row below it: the first pixels that the frame does not reach.

    Left of the frame it is exclusive, as the right end of what is looked at; below inclusive.
    """
    # The frame reaches as far out of the axes' edge as into them.
    if vertical:
        return int(np.floor(min(box.edges[0] - 1, 2 * box.edges[0] - box.inside[0])))
    return int(np.ceil(max(box.edges[3], 2 * box.edges[3] - box.inside[3]))) + 1
