"""Words in the margin beside a spectrogram: where text stands, not what it says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan.sound.figure.box import Sides
from gan.sound.figure.pixels import Pixels, Strip

# The longest side of what is searched for words; larger margins are made smaller first.
_LONGEST = 3000
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


@dataclass
class Word:
    """Glyphs beside each other: left, top, right and bottom in pixels of the picture, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def add(self, other: "Word") -> None:
        """Grow so that another word lies within."""
        self.left, self.top = min(self.left, other.left), min(self.top, other.top)
        self.right, self.bottom = max(self.right, other.right), max(self.bottom, other.bottom)


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


def find_words(pixels: Pixels, area: Sides) -> Margin | None:
    """Find the words of a margin.

    Args:
        pixels: The picture.
        area: Left, top, right and bottom of the margin.

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
        # What reaches the margin's end, ticks and frames among it, is not text or is cut off.
        if rows.start > 0 and columns.start > 0 and rows.stop < mask.shape[0] and columns.stop < mask.shape[1]:
            start, stop = left + factor * columns.start, left + factor * columns.stop
            parts.append(Word(start, top + factor * rows.start, stop, top + factor * rows.stop))
    return Margin(pixels, area, page, _joined(parts))


def _reduced(pixels: Pixels, area: Sides) -> tuple[NDArray[np.float32], int]:
    """Lightness of a margin, made smaller by averaging whole blocks, and by which factor."""
    left, top, right, bottom = area
    factor = -(-max(right - left, bottom - top) // _LONGEST)
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
