"""Numbers beside the tick marks of a spectrogram's axes."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.sound.figure.box import Box
from gan.sound.figure.glyphs import MINUS, Text, read_text
from gan.sound.figure.pixels import Pixels
from gan.sound.figure.ticks import outer_end, tick_marks
from gan.sound.figure.words import Margin, Word, find_words

# Pixels beside a box that are searched at first, and by which part of its side beyond its ends.
_MIN_DEPTH = 100
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
_OFFSET_DEPTH, _OFFSET_WIDTH = 3, 6
_MIN_OFFSET_DEPTH = 24
_OFFSET_HEIGHTS = (0.4, 2.5)
# Part of full cover from which on a row of pixels belongs to text.
_FAINT = 0.2
_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)(\.\d+)?k?")
_TIME = re.compile(r"-?(\d+:)?(\d{1,2}):(\d{2})")
_GROUPED = re.compile(rf"[-+{MINUS}]?[1-9]\d{{0,2}}([.,]\d{{3}})+")
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
    margin, words = _words(pixels, box, vertical)
    if margin is None:
        return []
    lines = [_line(margin, word) for word in words]
    height = _digit_height(words, lines)
    if height < _MIN_HEIGHT:
        return []
    peak = float(np.median([line.ink.max() for line in lines]))
    marks = max((tick_marks(pixels, box, vertical, depth)[0] for depth in _MARK_LENGTHS), key=len)
    texts = [
        None if _has_neighbour(word, margin.words, height, vertical) else _text(line, height, peak)
        for word, line in zip(words, lines, strict=True)
    ]
    comma = _meaning_of_comma([text.characters for text in texts if text is not None])
    factor = _factor(pixels, box, vertical, words, height)
    if comma is None or factor is None:
        return []
    labels = []
    for line, text in zip(lines, texts, strict=True):
        number = None if text is None else _number(text.characters.replace(",", comma))
        where = None if text is None else _place(line, text, height, marks, vertical)
        if text is not None and number is not None and where is not None:
            labels.append(TickLabel(where[0], factor * number[0], factor * number[1], where[1], text))
    if len(labels) < max(_MIN_LABELS, _MIN_READ * len(words)):
        return []
    return sorted(labels, key=lambda label: label.place)


def _words(pixels: Pixels, box: Box, vertical: bool) -> tuple[Margin | None, list[Word]]:
    """The page left of a box or below it as far as its labels reach, and they; None without any."""
    end = outer_end(box, vertical)
    low, high, limit = (1, 3, pixels.height) if vertical else (0, 2, pixels.width)
    overhang = max(_MIN_OVERHANG, int(_OVERHANG * (box.inside[high] - box.inside[low])))
    start, stop = max(0, box.inside[low] - overhang), min(limit, box.inside[high] + overhang)
    room = end if vertical else pixels.height - end
    depth = _MIN_DEPTH
    while depth < 2 * room:
        # Another plot may lie beyond the labels, and large labels are found in a smaller picture.
        if vertical:
            margin = find_words(pixels, (max(0, end - depth), start, end, stop), "right")
        else:
            margin = find_words(pixels, (start, end, stop, min(pixels.height, end + depth)), "top")
        if margin is not None:
            words = _aligned([word for word in margin.words if _is_beside(word, box, vertical)], vertical)
            # A glyph before the first one may lie outside.
            if words and (not vertical or margin.area[0] == 0 or min(_clearances(words, margin)) > 1):
                return margin, words
        depth *= 2
    return None, []


def _clearances(words: list[Word], margin: Margin) -> list[float]:
    """How far words are from the left end of what was searched, in their heights."""
    return [(word.left - margin.area[0]) / word.height for word in words]


def _is_beside(word: Word, box: Box, vertical: bool) -> bool:
    """Whether the middle of a word lies between the ends of the box, as far as that is seen."""
    start, stop = (box.inside[1], box.inside[3]) if vertical else (box.inside[0], box.inside[2])
    middle = (word.top + word.bottom) / 2 if vertical else (word.left + word.right) / 2
    slack = 2 + _ALIGNMENT * word.height
    return start - slack < middle < stop + slack


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


def _digit_height(words: list[Word], lines: list[_Line]) -> float:
    """Height of the labels' digits, of which some have commas that reach further down."""
    usual = float(np.median([word.digit_height for word in words]))
    plain = [
        line.bottom - line.top
        for word, line in zip(words, lines, strict=True)
        if abs(word.height - usual) < 0.1 * usual + 1
    ]
    return float(np.median(plain)) if plain else usual


def _place(
    line: _Line, text: Text, height: float, marks: NDArray[np.float64], vertical: bool
) -> tuple[float, float] | None:
    """Where the tick of a label is, and by how much that may be off; None if there are ticks but not beside it."""
    place = line.top + height / 2 if vertical else line.left + text.middle
    if len(marks) < _MIN_MARKS:
        return place, 1 + 0.1 * height
    nearest = float(marks[np.abs(marks - place).argmin()])
    return (nearest, 0.75) if abs(nearest - place) <= _TICK_DISTANCE * height + 1.5 else None


def _text(line: _Line, height: float, peak: float) -> Text | None:
    return read_text(np.minimum(line.ink / peak, 1), line.top - line.upper, height)


def _meaning_of_comma(texts: list[str]) -> str | None:
    """What an axis' commas are to be read as: nothing between thousands, or a point; None if that cannot be told.

    Thousands end in zero, and thousandths that all do are not written.
    """
    points = [text for text in texts if "." in text]
    commas = [text for text in texts if "," in text]
    if not commas:
        grouped = points and all(_GROUPED.fullmatch(text) and text.endswith("000") for text in points)
        return None if grouped else ""
    if any(not _GROUPED.fullmatch(text) for text in commas):
        return None if points else "."
    return None if points or not all(text.endswith("0") for text in commas) else ""


def _number(characters: str) -> tuple[float, float] | None:
    """Value of a label and half a unit of its last digit; None if it is no number."""
    plain = characters.replace(MINUS, "-")
    if _NUMBER.fullmatch(plain):
        factor = 1000 if plain.endswith("k") else 1
        digits = plain.removesuffix("k")
        return factor * float(digits), factor * 0.5 * 10.0 ** -len(digits.partition(".")[2])
    if _TIME.fullmatch(plain):
        value = 0.0
        for part in plain.removeprefix("-").split(":"):
            value = 60 * value + int(part)
        return -value if plain.startswith("-") else value, 0.0
    return None


def _factor(pixels: Pixels, box: Box, vertical: bool, words: list[Word], height: float) -> float | None:
    """What the numbers have to be multiplied with, which stands at the axis' end; None if it is not read for sure."""
    side = box.inside[0] if vertical else box.inside[2]
    reach, depth = round(2 * _OFFSET_WIDTH * height), max(_MIN_OFFSET_DEPTH, round(_OFFSET_DEPTH * height))
    if vertical:
        end = int(np.floor(min(2 * box.edges[1] - box.inside[1], box.inside[1])))
        area = (max(0, side - depth), max(0, end - depth), min(pixels.width, side + reach), end)
    else:
        start = max(word.bottom for word in words) + 1
        area = (max(0, side - reach), start, min(pixels.width, side + depth), min(pixels.height, start + depth))
    if area[3] - area[1] < height:
        return 1.0
    margin = find_words(pixels, area, "bottom" if vertical else "top")
    if margin is None:
        return None
    for word in margin.words:
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
