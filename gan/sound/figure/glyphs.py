"""Text of digits in pictures, compared with matplotlib's own font: DejaVu Sans, which comes with matplotlib."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
_SHIFT = 2
_RISES = (-1, 0, 1)
# Correlation with the right glyph and with the next best one: of 12,000 glyphs of figures drawn by matplotlib.
_MIN_LIKENESS = 0.6
_MIN_LEAD = 0.09
# Correlation of each glyph's window, and of the whole line, with the same text drawn anew.
_MIN_DRAWN_LIKENESS = 0.75
_MIN_WHOLE_LIKENESS = 0.9
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
    source_height = min(source_height, 2 * DIGIT_ROWS)
    glyphs = _glyphs(source_height)
    rows = line[top : top + DIGIT_ROWS + _ABOVE + _BELOW]
    inked = np.flatnonzero(line.max(axis=0) > _VISIBLE)
    if len(inked) == 0:
        return None
    bearings = [glyph.bearing for glyph in glyphs]
    starts = range(int(inked[0] - max(bearings)) - _SHIFT, int(inked[0] - min(bearings)) + _SHIFT + 1)
    found: list[tuple[int, _Glyph]] = []
    while len(found) < _MAX_LENGTH:
        best, next_best = _ranked(rows, starts, source_height)[:2]
        if best[0] < _MIN_LIKENESS or best[0] - next_best[0] < _MIN_LEAD:
            return None
        _, place, index = best
        found.append((place, glyphs[index]))
        end = place + glyphs[index].advance
        if inked[-1] < end + 1:
            break
        starts = range(round(end) - _SHIFT, round(end) + _SHIFT + 1)
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


def _ranked(rows: Ink, places: range, source_height: int) -> list[tuple[float, int, int]]:
    """Correlation, best place and index of every glyph, the most alike first."""
    ranked = []
    for width, indices, windows in _by_width(source_height):
        start, stop = places.start - _SIDE, places.stop - _SIDE + width - 1
        shown = np.lib.stride_tricks.sliding_window_view(rows[:, start:stop], width, axis=1).swapaxes(0, 1)
        alike = _normalized(shown) @ windows.T
        best = alike.argmax(axis=0)
        ranked += [
            (float(alike[place, column]), places[int(place)], indices[column]) for column, place in enumerate(best)
        ]
    return sorted(ranked, reverse=True)


def _normalized(windows: Ink) -> Ink:
    """Windows (n, rows, columns) as rows (n, rows x columns) of mean 0 and norm 1, or 0 where they are even."""
    flat = windows.reshape(len(windows), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    normalized: Ink = np.where(norms > 1e-3, flat / np.maximum(norms, 1e-3), 0)
    return normalized


def _correlation(a: Ink, b: Ink) -> float:
    return float((_normalized(a[None]) @ _normalized(b[None]).T)[0, 0])


@functools.lru_cache(maxsize=16)
def _glyphs(source_height: int) -> tuple[_Glyph, ...]:
    """The alphabet as it looks when digits of so many rows are scaled to `DIGIT_ROWS`."""
    import matplotlib
    from PIL import ImageDraw, ImageFont
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


@functools.lru_cache(maxsize=16)
def _by_width(source_height: int) -> list[tuple[int, list[int], Ink]]:
    """Windows of the alphabet that are of one width: it, indices of their glyphs, and they as rows of norm 1."""
    glyphs = _glyphs(source_height)
    widths = sorted({glyph.window.shape[1] for glyph in glyphs})
    groups = [[i for i, glyph in enumerate(glyphs) if glyph.window.shape[1] == width] for width in widths]
    return [
        (width, group, _normalized(np.stack([glyphs[i].window for i in group])))
        for width, group in zip(widths, groups, strict=True)
    ]
