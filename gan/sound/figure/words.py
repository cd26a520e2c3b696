"""Words in the margin beside a spectrogram: where text stands, not what it says."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan.sound.figure.box import Sides
from gan.sound.figure.pixels import Pixels, Strip

# Deeper margins are made smaller first: their text is large, or it would have been found in a part of them.
_MAX_DEPTH = 400
# Lightness by which ink differs from the page.
_CONTRAST = 40
_REDUCED_CONTRAST = 25
# A page is of one colour for the most part.
_PAGE_TOLERANCE = 12
_MIN_PAGE = 0.5
# Text has fewer parts.
_MAX_PARTS = 1500
# Gap between glyphs of one word, in their usual height.
_GAP = 0.4
# In pixels, of what may be a digit.
_MIN_HEIGHT = 3


# Nearer to the picture's left side than this, in heights, a glyph before the word may have been cut off.
_CLEARANCE = 0.3


@dataclass
class Word:
    """Glyphs beside each other.

    Attributes:
        left: In pixels of the picture, as the others; right and bottom are exclusive.
        is_cut: Whether it reaches the end of what was searched.
        parts: Heights of its parts: glyphs, or several that touch each other.
    """

    left: int
    top: int
    right: int
    bottom: int
    is_cut: bool = False
    parts: list[int] = dataclasses.field(default_factory=list)

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def add(self, other: "Word") -> None:
        """Grow so that another word lies within."""
        self.left, self.top = min(self.left, other.left), min(self.top, other.top)
        self.right, self.bottom = max(self.right, other.right), max(self.bottom, other.bottom)
        self.is_cut |= other.is_cut
        self.parts += other.parts

    @property
    def digit_height(self) -> float:
        """Height of most of its glyphs that are no points or signs, which may be lower or reach further down."""
        return float(np.median([height for height in self.parts if 2 * height > self.height]))


@dataclass(frozen=True)
class Margin:
    """A part of the page beside a spectrogram.

    Attributes:
        pixels: The picture.
        area: Left, top, right and bottom of the part.
        page: Lightness of the page, 0 to 255.
        words: What stands there, and lies wholly within.
    """

    pixels: Pixels
    area: Sides
    page: float
    words: list[Word]

    def ink(self, area: Sides) -> NDArray[np.float32]:
        """By how much the lightness of pixels differs from the page's, shape (rows, columns)."""
        difference: NDArray[np.float32] = np.abs(_lightness(self.pixels.strip(*area)) - np.float32(self.page))
        return difference


def find_words(pixels: Pixels, area: Sides, near: Literal["right", "top", "bottom"]) -> Margin | None:
    """Find the words of a margin.

    Args:
        pixels: The picture.
        area: Left, top, right and bottom of the margin.
        near: Its side at the spectrogram, from which tick marks reach into it.

    Returns:
        The margin; None if it is no page of one color with text on it.
    """
    from scipy import ndimage

    left, top, right, bottom = area
    if min(right - left, bottom - top) < 4:
        return None
    light, factor = _reduced(pixels, area)
    page = float(np.median(light))
    difference = np.abs(light - page)
    if np.mean(difference <= _PAGE_TOLERANCE) < _MIN_PAGE:
        return None
    mask = difference > (_CONTRAST if factor == 1 else _REDUCED_CONTRAST)
    labels, n_parts = ndimage.label(mask, structure=np.ones((3, 3)))
    if n_parts > _MAX_PARTS:
        return None
    parts = []
    for rows, columns in ndimage.find_objects(labels):
        ends = {
            "left": columns.start == 0,
            "top": rows.start == 0,
            "right": columns.stop == mask.shape[1],
            "bottom": rows.stop == mask.shape[0],
        }
        if ends.pop(near):
            continue
        start, stop = left + factor * columns.start, left + factor * columns.stop
        upper, lower = top + factor * rows.start, top + factor * rows.stop
        parts.append(Word(start, upper, stop, lower, any(ends.values()), [lower - upper]))
    words = [word for word in _joined(parts) if not word.is_cut and word.left >= _CLEARANCE * word.height]
    return Margin(pixels, area, page, words)


def _reduced(pixels: Pixels, area: Sides) -> tuple[NDArray[np.float32], int]:
    """Lightness of a margin, made smaller by averaging whole blocks, and by which factor."""
    left, top, right, bottom = area
    factor = max(1, min(right - left, bottom - top) // _MAX_DEPTH)
    height = max(1, 4_000_000 // (right - left) // factor) * factor
    parts = []
    for start in range(top, bottom, height):
        strip = pixels.strip(left, start, right, min(bottom, start + height))
        parts.append(_lightness(strip if factor == 1 else np.asarray(Image.fromarray(strip).reduce(factor))))
    return np.concatenate(parts), factor


def _lightness(strip: Strip) -> NDArray[np.float32]:
    return strip.astype(np.float32) if strip.ndim == 2 else strip.mean(axis=-1, dtype=np.float32)


def _joined(parts: list[Word]) -> list[Word]:
    """Parts that stand beside each other, joined from the left to the right."""
    words: list[Word] = []
    # A digit's height, as points and signs are lower and letters on their side may be higher.
    usual = float(np.median([part.height for part in parts if part.height > _MIN_HEIGHT] or [0]))
    for part in sorted(parts, key=lambda part: part.left):
        for word in words:
            overlap = min(word.bottom, part.bottom) - max(word.top, part.top)
            if part.left - word.right <= _GAP * usual and overlap > 0:
                word.add(part)
                break
        else:
            words.append(part)
    return words
