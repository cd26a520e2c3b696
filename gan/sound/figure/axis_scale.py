"""Limits of a spectrogram's axes, from the numbers beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.axis import frequencies_on_axis, place_on_axis
from gan.sound.figure.box import Box
from gan.sound.figure.options import YAxis
from gan.sound.figure.pixels import Pixels
from gan.sound.figure.tick_labels import TickLabel, find_labels

_MIN_LABELS = 3
# Part of the axis that its labels have to span.
_MIN_SPAN = 0.3
# Steps from tick to tick that matplotlib and librosa choose, times powers of ten.
_MAX_ROUNDING = 0.4
_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class AxisScale:
    """What an axis shows from one end to the other.

    Attributes:
        low: Value at the left or lower end of the box, as its edges are counted; in the labels' unit, seconds for
            labels such as 1:30.
        high: Value at the right or upper end.
        n_labels: Labels that say so.
        confidence: 1 for certain.
    """

    low: float
    high: float
    n_labels: int
    confidence: float


def read_axis_scale(pixels: Pixels, box: Box, vertical: bool) -> AxisScale | None:
    """Read which values a linear axis has at both ends of the box.

    Args:
        pixels: The picture.
        box: The spectrogram's place in it.
        vertical: Whether it is the vertical axis.

    Returns:
        The scale; None if fewer than three labels were read, or they do not lie on one linear scale to a pixel.
    """
    return fit_axis(find_labels(pixels, box, vertical), box, vertical)


def fit_axis(labels: Sequence[TickLabel], box: Box, vertical: bool, kind: YAxis = "linear") -> AxisScale | None:
    """Find the scale of an axis of a kind that its labels lie on.

    Args:
        labels: Of the axis, from `find_labels`.
        box: The spectrogram's place.
        vertical: Whether it is the vertical axis.
        kind: Of the axis: linear, or librosa's log or mel axis.

    Returns:
        The scale; None if the labels do not lie on one, to a pixel.
    """
    if len(labels) < _MIN_LABELS:
        return None
    low, high = (box.edges[3], box.edges[1]) if vertical else (box.edges[0], box.edges[2])
    places = np.array([label.place for label in labels])
    if np.ptp(places) < _MIN_SPAN * abs(high - low):
        return None
    values = np.array([label.value for label in labels])
    slack = max(label.slack for label in labels) + 0.25
    line = _line(places, values, slack, kind)
    if line is None and kind == "linear":
        line = _line_of_rounded(places, labels, slack)
    if line is None:
        return None
    start, per_place = line
    ends = frequencies_on_axis(start + per_place * np.array([low, high]), kind)
    likeness = float(np.mean([label.text.likeness for label in labels]))
    return AxisScale(float(ends[0]), float(ends[1]), len(labels), likeness * (1 - 0.5 ** (len(labels) - 1)))


def _line(
    places: NDArray[np.float64], values: NDArray[np.float64], slack: float, kind: YAxis = "linear"
) -> tuple[float, float] | None:
    """Offset and slope from places to values; None if a place is off by more than its slack."""
    if len(np.unique(values)) < len(values):
        return None
    on_axis = place_on_axis(values, kind)
    # Values are exact and places are not.
    slope, offset = np.polyfit(on_axis, places, 1)
    if np.abs(places - offset - slope * on_axis).max() > slack:
        return None
    return -offset / slope, 1 / slope


def _line_of_rounded(
    places: NDArray[np.float64], labels: Sequence[TickLabel], slack: float
) -> tuple[float, float] | None:
    """The same of labels that were rounded, as librosa writes 12 beside 12.5 s: multiples of a step round to them."""
    values = np.array([label.value for label in labels])
    slope, offset = np.polyfit(places, values, 1)
    least = float(np.diff(np.sort(places)).min() * abs(slope))
    if least <= 0:
        return None
    rounding = np.array([label.rounding for label in labels])
    if rounding.max() > _MAX_ROUNDING * least:
        return None
    found = []
    for power in (np.floor(np.log10(least)) - 1, np.floor(np.log10(least)), np.floor(np.log10(least)) + 1):
        for step in np.array(_STEPS) * 10.0**power:
            exact = np.rint((offset + slope * places) / step) * step
            line = _line(places, exact, slack) if 0.6 * least < step < 1.6 * least else None
            as_written = np.isclose(exact, values, rtol=1e-9)
            if line is not None and as_written.sum() > 1 and np.all(np.abs(exact - values) <= rounding * 1.001):
                found.append(line)
    return found[0] if len(found) == 1 else None
