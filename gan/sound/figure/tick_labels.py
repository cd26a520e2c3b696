"""Numbers beside the tick marks of a spectrogram's axes."""

import dataclasses
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.box import Box, Sides
from gan.sound.figure.glyphs import MINUS, Text, read_text
from gan.sound.figure.pixels import Pixels
from gan.sound.figure.ticks import outer_end, tick_marks
from gan.sound.figure.words import Margin, Word, find_words

_MIN_DEPTH = 100
# Part of a picture's longer side that labels lie within.
_DEPTH = 0.25
_OVERHANG = 0.08
_MIN_OVERHANG = 30
# In digits' heights: how far labels' ends lie from one line, and labels from their tick marks.
_ALIGNMENT = 0.35
_TICK_DISTANCE = 0.3
# A label as close to the next one as this, in digits' heights, may be a part of it.
_MIN_GAP = 0.9
_MIN_LABELS = 3
_MIN_MARKS = 3
# In pixels; those of 3.5 points at 72 dpi are shorter than usual.
_MARK_LENGTHS = (3, 2)
# Part of the words in line with the labels that have to be read.
_MIN_READ = 0.7
# Digits that are lower than this in pixels are not told apart.
_MIN_HEIGHT = 5
# Of a power of ten at an axis' end, in heights of the labels: how far off, how wide and how high it may be.
_OFFSET_DEPTH, _OFFSET_WIDTH = 3, 8
_OFFSET_HEIGHTS = (0.4, 2.5)
# Part of full cover from which on a row of pixels belongs to text.
_FAINT = 0.2
_NUMBER = re.compile(r"[-+]?(0|[1-9]\d{0,2}(,\d{3})+|[1-9]\d*)(\.\d+)?k?")
_TIME = re.compile(r"-?(\d+:)?(\d{1,2}):(\d{2})")
_GROUPED = re.compile(r"[.,]\d{3}$")
_EXPONENT = re.compile(r"1e[-+]?\d+")


@dataclass(frozen=True)
class TickLabel:
    """A number beside an axis.

    Attributes:
        place: Of its tick in pixels from the left or from the top, as a box's edges are counted.
        value: The number; seconds for labels such as 1:30.
        rounding: Half a unit of its last digit.
        slack: By how many pixels `place` may be off.
        text: What was read.
    """

    place: float
    value: float
    rounding: float
    slack: float
    text: Text


def read_tick_labels(pixels: Pixels, box: Box, vertical: bool) -> list[tuple[float, float]]:
    """Read the labels of an axis: left of the box, or below it.

    Args:
        pixels: The picture.
        box: The spectrogram's place in it.
        vertical: Whether it is the vertical axis.

    Returns:
        Place in pixels, from the left or from the top as the box's edges are counted, and number of every label that is
        read for sure, by place. Labels such as 1:30 are in seconds; units that a label's axis may have are not read.
        Empty if fewer than three labels are, or too many beside them are not.
    """
    return [(label.place, label.value) for label in find_labels(pixels, box, vertical)]


def find_labels(pixels: Pixels, box: Box, vertical: bool) -> list[TickLabel]:
    """As `read_tick_labels`, with how exact the numbers and the places are."""
    margin = _margin(pixels, box, vertical)
    if margin is None:
        return []
    words = _aligned(margin.words, vertical)
    if len(words) < _MIN_LABELS:
        return []
    lines = [_line(margin, word) for word in words]
    height = float(np.median([line.bottom - line.top for line in lines]))
    if height < _MIN_HEIGHT:
        return []
    peak = float(np.median([line.ink.max() for line in lines]))
    marks = max((tick_marks(pixels, box, vertical, depth)[0] for depth in _MARK_LENGTHS), key=len)
    labels = []
    for word, line in zip(words, lines, strict=True):
        if _has_neighbour(word, margin.words, height, vertical):
            continue
        label = _label(line, height, peak, marks, vertical)
        if label is not None:
            labels.append(label)
    factor = _factor(pixels, box, vertical, margin, words, height)
    if factor is None or len(labels) < max(_MIN_LABELS, _MIN_READ * len(words)) or _is_ambiguous(labels):
        return []
    scaled = [
        dataclasses.replace(label, value=label.value * factor, rounding=label.rounding * factor) for label in labels
    ]
    return sorted(scaled, key=lambda label: label.place)


def _margin(pixels: Pixels, box: Box, vertical: bool) -> Margin | None:
    """The page left of a box or below it, as far as it is one."""
    end = outer_end(box, vertical)
    low, high, limit = (1, 3, pixels.height) if vertical else (0, 2, pixels.width)
    overhang = max(_MIN_OVERHANG, int(_OVERHANG * (box.inside[high] - box.inside[low])))
    start, stop = max(0, box.inside[low] - overhang), min(limit, box.inside[high] + overhang)
    depth = max(_MIN_DEPTH, int(_DEPTH * max(pixels.width, pixels.height)))
    # Another plot may lie beyond the labels.
    for _ in range(4):
        area: Sides
        if vertical:
            area = (max(0, end - depth), start, end, stop)
        else:
            area = (start, end, stop, min(pixels.height, end + depth))
        margin = find_words(pixels, area)
        if margin is not None:
            return margin
        depth //= 2
    return None


def _aligned(words: list[Word], vertical: bool) -> list[Word]:
    """The words next to the box that end, or stand, in one line."""
    ends = sorted({-word.right if vertical else word.top for word in words})
    for end in ends:
        line = []
        for word in words:
            off = (-word.right if vertical else word.top) - end
            if -1 <= off <= max(2, _ALIGNMENT * word.height):
                line.append(word)
        if len(line) >= _MIN_LABELS:
            return line
    return []


def _has_neighbour(word: Word, words: list[Word], height: float, vertical: bool) -> bool:
    """Whether a word may be a part of a label: another one stands in the same line, hardly a space away."""
    # The letters of a vertical axis' name lie on their sides, and are in line by chance.
    slack = 1 + 0.05 * height if vertical else _ALIGNMENT * height
    for other in words:
        gap = max(other.left - word.right, word.left - other.right)
        in_line = abs(other.bottom - word.bottom) <= slack and (not vertical or abs(other.top - word.top) <= slack)
        if other is not word and gap < _MIN_GAP * height and in_line:
            return True
    return False


@dataclass(frozen=True)
class _Line:
    """A word's ink, and where it stands in the picture."""

    ink: NDArray[np.float32]
    left: int
    upper: int
    top: float
    bottom: float


def _line(margin: Margin, word: Word) -> _Line:
    """Cut a word out, with where its ink begins and ends to a part of a pixel."""
    pad = 2 + word.height // 8
    left, upper = max(margin.area[0], word.left - pad), max(margin.area[1], word.top - pad)
    right, lower = min(margin.area[2], word.right + pad), min(margin.area[3], word.bottom + pad)
    ink = margin.ink((left, upper, right, lower))
    cover = ink.max(axis=1) / max(1.0, float(ink.max()))
    rows = np.flatnonzero(cover > _FAINT)
    first, last = int(rows[0]), int(rows[-1])
    return _Line(ink, left, upper, upper + first + 1 - float(cover[first]), upper + last + float(cover[last]))


def _label(line: _Line, height: float, peak: float, marks: NDArray[np.float64], vertical: bool) -> TickLabel | None:
    text = _text(line, height, peak)
    number = None if text is None else _number(text.characters)
    if text is None or number is None:
        return None
    place = line.top + height / 2 if vertical else line.left + text.middle
    slack = 1 + 0.1 * height
    if len(marks) >= _MIN_MARKS:
        nearest = float(marks[np.abs(marks - place).argmin()])
        if abs(nearest - place) > _TICK_DISTANCE * height + 1.5:
            return None
        place, slack = nearest, 0.75
    return TickLabel(place, *number, slack, text)


def _text(line: _Line, height: float, peak: float) -> Text | None:
    return read_text(np.minimum(line.ink / peak, 1), line.top - line.upper, height)


def _number(characters: str) -> tuple[float, float] | None:
    """Value of a label and half a unit of its last digit; None if it is no number."""
    plain = characters.replace(MINUS, "-")
    if _NUMBER.fullmatch(plain):
        factor = 1000 if plain.endswith("k") else 1
        digits = plain.removesuffix("k").replace(",", "")
        decimals = len(digits.partition(".")[2])
        return factor * float(digits), factor * 0.5 * 10.0**-decimals
    if _TIME.fullmatch(plain):
        value = 0.0
        for part in plain.removeprefix("-").split(":"):
            value = 60 * value + int(part)
        return -value if plain.startswith("-") else value, 0.0
    return None


def _factor(pixels: Pixels, box: Box, vertical: bool, margin: Margin, words: list[Word], height: float) -> float | None:
    """What the numbers have to be multiplied with, which stands at the axis' end; None if it is not read for sure."""
    side = box.inside[0] if vertical else box.inside[2]
    candidates = margin.words
    if vertical:
        end = int(np.floor(min(2 * box.edges[1] - box.inside[1], box.inside[1])))
        top = max(0, end - round(_OFFSET_DEPTH * height))
        if end - top < height:
            return 1.0
        left, right = side - round(_OFFSET_DEPTH * height), side + round(_OFFSET_WIDTH * height)
        above = find_words(pixels, (max(0, left), top, min(pixels.width, right), end))
        if above is None:
            return None
        margin, candidates = above, above.words
    else:
        below = max(word.bottom for word in words)
        candidates = [word for word in margin.words if below < word.top < below + _OFFSET_DEPTH * height]
    for word in candidates:
        off = word.left - side if vertical else word.right - side
        likely = _OFFSET_HEIGHTS[0] < word.height / height < _OFFSET_HEIGHTS[1]
        if not likely or word.right - word.left > _OFFSET_WIDTH * word.height or abs(off) > max(height, word.height):
            continue
        line = _line(margin, word)
        text = _text(line, line.bottom - line.top, float(line.ink.max()))
        alone = not _has_neighbour(word, margin.words, word.height, vertical=False)
        plain = "" if text is None else text.characters.replace(MINUS, "-")
        if alone and _EXPONENT.fullmatch(plain):
            return float(plain)
        # Letters with more words beside them are a title.
        if alone or plain:
            return None
    return 1.0


def _is_ambiguous(labels: list[TickLabel]) -> bool:
    """Whether a comma or a point before three digits may be the one or the other.

    Thousands end in zero; thousandths that all do are not written.
    """
    grouped = [label.text.characters for label in labels if _GROUPED.search(label.text.characters)]
    points = {characters[-4] for characters in grouped}
    ends_in_zero = all(characters.endswith("0") for characters in grouped)
    return len(points) > 1 or ("," in points and not ends_in_zero)
