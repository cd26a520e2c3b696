"""Text of digits in pictures, compared with matplotlib's own font: DejaVu Sans, which comes with matplotlib."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Ink = NDArray[np.float32]

# Text is scaled to digits of this many rows before it is compared.
DIGIT_ROWS = 16
# Rows above the digits and below their baseline that a glyph's window shows.
_ABOVE, _BELOW = 4, 5
# Columns at both sides of a glyph's advance that its window shows.
_SIDE = 1
# Drawn larger by this and averaged.
_OVERSAMPLING = 4
# Height of DejaVu Sans' digits in units of its size.
_DIGIT_HEIGHT = 0.729
_FONT = "DejaVuSans.ttf"
MINUS = "\N{MINUS SIGN}"
_ALPHABET = f"0123456789.,:{MINUS}-+ke"
# Columns and rows by which hinting moves glyphs.
_SHIFTS = (-2, -1, 0, 1, 2)
_RISES = (-1, 0, 1)
# Correlation with the right glyph and with the next best one: of 12,000 glyphs of figures drawn by matplotlib.
_MIN_LIKENESS = 0.6
_MIN_LEAD = 0.06
# Correlation of each glyph's window, and of the whole line, with the same text drawn anew.
_MIN_DRAWN_LIKENESS = 0.75
_MIN_WHOLE_LIKENESS = 0.88
# Ink of full cover is 1.
_VISIBLE = 0.25
_MAX_LENGTH = 12


@dataclass(frozen=True)
class _Glyph:
    character: str
    # Columns to the next glyph.
    advance: float
    # Columns from its start to its ink.
    bearing: float
    window: Ink


@dataclass(frozen=True)
class Text:
    """Text that was read.

    Attributes:
        characters: Digits, signs, points and colons.
        middle: Middle of its advance widths, in columns of what was read.
        likeness: Correlation with the same text drawn anew.
    """

    characters: str
    middle: float
    likeness: float


def read_text(ink: Ink, first_row: float, digit_height: float) -> Text | None:
    """Read one line of digits.

    Args:
        ink: Cover of every pixel with ink, 0 to 1, shape (rows, columns), of nothing but the text.
        first_row: Upper end of the digits, in rows.
        digit_height: Height of the digits in rows.

    Returns:
        The text; None if a glyph is none of the alphabet for sure.
    """
    scale = DIGIT_ROWS / digit_height
    pad = 3 * DIGIT_ROWS
    width = round(ink.shape[1] * scale)
    image = Image.fromarray(ink)
    # Rows of the crop in terms of the source; what lies outside of it is page.
    source_top = int(np.floor(first_row - (_ABOVE + 2) / scale))
    source_bottom = int(np.ceil(first_row + (DIGIT_ROWS + _BELOW + 2) / scale))
    image = image.crop((0, source_top, ink.shape[1], source_bottom))
    top = first_row - (_ABOVE + 1) / scale
    n_rows = DIGIT_ROWS + _ABOVE + _BELOW + 2
    box = (0.0, top - source_top, float(ink.shape[1]), top - source_top + n_rows / scale)
    line = np.asarray(image.resize((width, n_rows), Image.Resampling.BILINEAR, box=box), np.float32)
    line = np.pad(line, ((0, 0), (pad, pad)))
    texts = [_read_line(line, 1 + rise, round(digit_height)) for rise in _RISES]
    best = max((text for text in texts if text is not None), key=lambda text: text.likeness, default=None)
    if best is None or best.likeness < _MIN_WHOLE_LIKENESS:
        return None
    return Text(best.characters, (best.middle - pad) / scale, best.likeness)


def _read_line(line: Ink, top: int, source_height: int) -> Text | None:
    """Read a line whose windows begin in the row `top`, glyph by glyph from the left."""
    glyphs = _glyphs(min(source_height, 2 * DIGIT_ROWS))
    rows = line[top : top + DIGIT_ROWS + _ABOVE + _BELOW]
    inked = np.flatnonzero(line.max(axis=0) > _VISIBLE)
    if len(inked) == 0:
        return None
    found: list[tuple[int, _Glyph]] = []
    while len(found) < _MAX_LENGTH:
        expected = found[-1][0] + found[-1][1].advance if found else None
        best, next_best = sorted(
            (_best_place(rows, round(inked[0] - glyph.bearing if expected is None else expected), glyph), index)
            for index, glyph in enumerate(glyphs)
        )[:-3:-1]
        (likeness, place), index = best
        if likeness < _MIN_LIKENESS or likeness - next_best[0][0] < _MIN_LEAD:
            return None
        found.append((place, glyphs[index]))
        end = place + glyphs[index].advance
        if inked[-1] < end + 1:
            break
    else:
        return None
    drawn = np.zeros_like(line)
    spans = [slice(place - _SIDE, place - _SIDE + glyph.window.shape[1]) for place, glyph in found]
    for span, (_, glyph) in zip(spans, found, strict=True):
        drawn[top : top + len(glyph.window), span] += glyph.window
    # A glyph alone misses what reaches into its window from the next one.
    if min(_correlation(line[:, span], drawn[:, span]) for span in spans) < _MIN_DRAWN_LIKENESS:
        return None
    return Text("".join(glyph.character for _, glyph in found), (found[0][0] + end) / 2, _correlation(line, drawn))


def _best_place(rows: Ink, expected: int, glyph: _Glyph) -> tuple[float, int]:
    """Correlation with a glyph where it fits best, and that place."""
    return max((_likeness(rows, expected + shift, glyph.window), expected + shift) for shift in _SHIFTS)


def _likeness(rows: Ink, place: int, window: Ink) -> float:
    left = place - _SIDE
    if left < 0 or left + window.shape[1] > rows.shape[1]:
        return -1.0
    return _correlation(rows[:, left : left + window.shape[1]], window)


def _correlation(a: Ink, b: Ink) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 1e-6 else -1.0


@functools.lru_cache(maxsize=16)
def _glyphs(source_height: int) -> tuple[_Glyph, ...]:
    """The alphabet as it looks when digits of so many rows are scaled to `DIGIT_ROWS`."""
    import matplotlib
    from scipy import ndimage

    size = DIGIT_ROWS * _OVERSAMPLING / _DIGIT_HEIGHT
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / _FONT
    font = ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    pixel = max(1, round(DIGIT_ROWS * _OVERSAMPLING / source_height))
    glyphs = []
    for character in _ALPHABET:
        advance = font.getlength(character)
        columns = int(np.ceil(advance / _OVERSAMPLING)) + 2 * _SIDE
        rows = DIGIT_ROWS + _ABOVE + _BELOW
        image = Image.new("L", (columns * _OVERSAMPLING, rows * _OVERSAMPLING))
        baseline = (_ABOVE + DIGIT_ROWS) * _OVERSAMPLING
        ImageDraw.Draw(image).text((_SIDE * _OVERSAMPLING, baseline), character, 255, font, "ls")
        drawn = np.asarray(image, np.float32) / 255
        bearing = np.flatnonzero(drawn.max(axis=0) > 0.5)[0] / _OVERSAMPLING - _SIDE
        # A pixel averages over its area, and interpolation spreads it once more.
        for axis in (0, 1):
            drawn = ndimage.uniform_filter1d(drawn, pixel, axis=axis, mode="constant")
        drawn = ndimage.uniform_filter(drawn, max(1, pixel // 2), mode="constant")
        window = drawn.reshape(rows, _OVERSAMPLING, columns, _OVERSAMPLING).mean(axis=(1, 3))
        glyphs.append(_Glyph(character, advance / _OVERSAMPLING, float(bearing), window.astype(np.float32)))
    return tuple(glyphs)
