"""Where in a figure the spectrogram is: margins, ticks, labels, titles and colour bars are outside."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure.pixels import Pixels, Strip

# A pixel is of the margin if no channel differs by more from the margin's colour; JPEG blurs by up to this.
_TOLERANCE = 24
_PAGE_TOLERANCE = 4
# Every channel of a white page, or of a cream one.
_WHITE = 220
# Part of a side, either way of its middle, on which its end is found to the pixel: a 20th.
_LOOKED_AT = 20
_THUMBNAIL = 4000
# Fewer pixels than this have no grid to be found.
_MIN_SIDE = 16
# A line around the axes differs from the margin by this; where it is on all four sides less will do.
_FRAME_CONTRAST = 100
_PALE_FRAME_CONTRAST = 40
_MAX_FRAME = 16
_MAX_HALF_FRAME = 4
# Frames lie on whole pixels, axes do not.
_FRAME_SLACK = 0.55
_MAX_PALE = 3
_MAX_DOUBTFUL_FRAME = 5
# Towards the middle from the left, the top, the right and the bottom.
_INWARDS = (1, 1, -1, -1)
# How much each channel adds to the lightness of JPEG.
_LIGHTNESS = (0.299, 0.587, 0.114)

# Left, top, right and bottom in pixels, right and bottom exclusive.
Sides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Box:
    """The spectrogram's place in a figure.

    Attributes:
        inside: The pixels that show it.
        edges: The same four where matplotlib's axes end, which is in the middle of the frame's line.
        slack: By how many pixels `edges` may be off.
        confidence: 1 for certain.
        how: What it was found by.
    """

    inside: Sides
    edges: tuple[float, float, float, float]
    slack: float
    confidence: float | None
    how: str


def find_box(pixels: Pixels, path: Path, lossy: bool = False) -> Box:
    """Find the axes of a figure.

    Args:
        pixels: The picture.
        path: The picture, for messages.
        lossy: Whether it is a JPEG, whose colours run.

    Raises:
        InputError: If there are none or several.
    """
    if min(pixels.width, pixels.height) < _MIN_SIDE:
        raise InputError(f"{path}: {pixels.width} x {pixels.height} pixels are too few to hold a spectrogram")
    whole = (0, 0, pixels.width, pixels.height)
    everything = Box(whole, whole, 0.0, 1.0, "no margin")
    margin, n_sides = _margin_colour(pixels)
    # Silence along the sides looks like a margin: a coloured one has to be all around, and to have a frame within.
    white = margin.min() > _WHITE
    if n_sides < (1 if white else 4):
        return everything
    small, factor = pixels.thumbnail(_THUMBNAIL)
    small = small.reshape(*small.shape[:2], -1)
    mask = np.abs(small.astype(np.int16) - margin).max(axis=-1) > _TOLERANCE
    if not mask.any():
        raise InputError(f"{path}: nothing but one colour; there is no spectrogram in it")
    plain_page = white and n_sides == 4
    try:
        left, top, right, bottom = _axes(mask, path)
    except InputError:
        if plain_page:
            raise
        return everything
    if factor > 1:
        left, top, right, bottom = _refined(pixels, margin, (left, top, right, bottom), factor)
    box = (left, top, right, bottom)
    framed = _frame(pixels, box, margin, lossy)
    if framed is None and not plain_page:
        return everything
    return _checked(framed or Box(box, box, 1.5, 0.7, "the margin's end, no frame"), path)


def given_box(pixels: Pixels, box: Sides, path: Path) -> Box:
    """The box that the user has named.

    Raises:
        InputError: If it does not lie in the picture.
    """
    if box[2] > pixels.width or box[3] > pixels.height:
        raise InputError(f"{path}: box {box} reaches out of its {pixels.width} x {pixels.height} pixels")
    return _checked(Box(box, box, 1.0, None, "given"), path)


def _checked(box: Box, path: Path) -> Box:
    width, height = box.inside[2] - box.inside[0], box.inside[3] - box.inside[1]
    if min(width, height) < _MIN_SIDE:
        raise InputError(f"{path}: the spectrogram seems to be {width} x {height} pixels, too few; give --box")
    return box


def _margin_colour(pixels: Pixels) -> tuple[NDArray[np.int16], int]:
    """Colour of a figure's margin, shape (channels,), and how many of its sides are of it."""
    width, height = pixels.width, pixels.height
    boxes = [(0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height)]
    strips = [pixels.strip(*box) for box in boxes]
    sides = [strip.reshape(strip.shape[0] * strip.shape[1], -1).astype(np.int16) for strip in strips]
    colours = np.array([np.median(side, axis=0) for side in sides]).astype(np.int16)
    # Labels that touch a side leave most of it. Of a page most is of exactly one colour, which faint noise is not.
    is_margin = np.array(
        [
            [np.mean(off <= _TOLERANCE) > 0.6 and np.mean(off <= _PAGE_TOLERANCE) > 0.5 for off in offs]
            for offs in ([np.abs(side - colour).max(axis=-1) for side in sides] for colour in colours)
        ]
    )
    n_sides = is_margin.sum(axis=1)
    return colours[n_sides.argmax()], int(n_sides.max())


def _axes(mask: NDArray[np.bool_], path: Path) -> Sides:
    """The largest thing that is not margin and not a drawing of a few lines."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    boxes, frames = [], []
    for index, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        if (rows.stop - rows.start) * (columns.stop - columns.start) <= 0.02 * mask.size:
            continue
        part = labels[rows, columns] == index
        box = _without_ticks(part, rows.start, columns.start)
        left, top, right, bottom = box
        outline = (labels[top, left:right], labels[bottom - 1, left:right], labels[top:bottom, left])
        if min(np.mean(line == index) for line in (*outline, labels[top:bottom, right - 1])) > 0.95:
            frames.append(box)
        boxes.append(((right - left) * (bottom - top), *box))
    # A frame may hold what looks like margin, silence, with islands of sound in it.
    boxes = [box for box in boxes if not any(box[1:] != frame and _is_within(box[1:], frame) for frame in frames)]
    if not boxes:
        raise InputError(f"{path}: no axes were found in it; give --box LEFT TOP RIGHT BOTTOM in pixels")
    boxes.sort(reverse=True)
    filled = [box for box in boxes if box[1:] in frames or mask[box[2] : box[4], box[1] : box[3]].mean() > 0.6] or boxes
    # A colour bar is far narrower than the spectrogram.
    alike = [" ".join(map(str, box[1:])) for box in filled if box[0] > 0.5 * filled[0][0]]
    if len(alike) > 1:
        raise InputError(
            f"{path}: {len(alike)} axes of about the same size were found in it; say which with --box: "
            + " or ".join(alike)
        )
    _, left, top, right, bottom = filled[0]
    return left, top, right, bottom


def _is_within(box: Sides, other: Sides) -> bool:
    return box[0] >= other[0] and box[1] >= other[1] and box[2] <= other[2] and box[3] <= other[3]


def _without_ticks(part: NDArray[np.bool_], top: int, left: int) -> Sides:
    """Box of a component, without what sticks out of it."""
    rows = np.flatnonzero(part.mean(axis=1) > 0.5)
    columns = np.flatnonzero(part.mean(axis=0) > 0.5)
    if len(rows) == 0 or len(columns) == 0:
        return left, top, left + part.shape[1], top + part.shape[0]
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _refined(pixels: Pixels, margin: NDArray[np.int16], box: Sides, factor: int) -> Sides:
    """A box that was found in a thumbnail, to the pixel."""
    left, top, right, bottom = (factor * side for side in box)
    # Wider than ticks are: one may be right at the middle.
    half_width, half_height = (max(2 * factor, size // _LOOKED_AT) for size in (right - left, bottom - top))
    middle = slice((top + bottom) // 2 - half_height, (top + bottom) // 2 + half_height)
    centre = slice((left + right) // 2 - half_width, (left + right) // 2 + half_width)

    def covered(strip: Strip, axis: int) -> NDArray[np.intp]:
        differs = np.abs(strip.reshape(*strip.shape[:2], -1).astype(np.int16) - margin).max(axis=-1) > _TOLERANCE
        return np.flatnonzero(differs.mean(axis=axis) > 0.5)

    def side(start: int, limit: int, horizontal: bool, first: bool) -> int:
        low, high = max(0, start - 2 * factor), min(limit, start + 2 * factor)
        if horizontal:
            found = covered(pixels.strip(low, middle.start, high, middle.stop), 0)
        else:
            found = covered(pixels.strip(centre.start, low, centre.stop, high), 1)
        if len(found) == 0:
            return min(max(start, 0), limit)
        return low + int(found[0]) if first else low + int(found[-1]) + 1

    return (
        side(left, pixels.width, True, True),
        side(top, pixels.height, False, True),
        side(right, pixels.width, True, False),
        side(bottom, pixels.height, False, False),
    )


def _frame(pixels: Pixels, outer: Sides, margin: NDArray[np.int16], lossy: bool) -> Box | None:
    """Find the line around the axes, on all sides or on some; None without one.

    Args:
        pixels: The picture.
        outer: Left, top, right and bottom of the axes with the line.
        margin: Colour of the page, shape (channels,).
        lossy: Whether colours run.
    """
    left, top, right, bottom = outer
    depths = [max(4, min(size // 50, _MAX_FRAME)) for size in (right - left, bottom - top)]
    strips = [
        pixels.strip(left, top, left + depths[0], bottom).swapaxes(0, 1),
        pixels.strip(left, top, right, top + depths[1]),
        pixels.strip(right - depths[0], top, right, bottom).swapaxes(0, 1)[::-1],
        pixels.strip(left, bottom - depths[1], right, bottom)[::-1],
    ]
    lines = [_line(strip.reshape(*strip.shape[:2], -1), margin, lossy) for strip in strips]
    starts, widths = [line[0] for line in lines], [line[1] for line in lines]
    light = _lightness(np.array([line[2] for line in lines]))

    def alike(sides: list[int], least_contrast: int) -> bool:
        contrast = np.abs(light[sides] - _lightness(margin)).min()
        return bool(np.ptp(light[sides]) <= 2 * _TOLERANCE and contrast > least_contrast)

    thin = sorted(width for width, depth in zip(widths, depths * 2, strict=True) if 0 < width < depth)
    if 0 not in widths and thin and alike([0, 1, 2, 3], _PALE_FRAME_CONTRAST):
        width = thin[0]
        if width == 1 or (len(thin) > 1 and thin[1] <= width + 1):
            return _within(outer, starts, [width] * 4, _FRAME_SLACK, 0.95, f"a frame of {width} px")
        # Silence of the frame's colour lies behind it on three sides: also on the fourth, in the lowest row of cells?
        width = min(width, _MAX_DOUBTFUL_FRAME)
        box = _within(
            outer, starts, [1] * 4, _FRAME_SLACK + (width - 1) / 4, 0.7, f"a frame of 1 to {width} px, and silence"
        )
        edges = np.array(box.edges) + (width - 1) / 4 * np.array(_INWARDS)
        return dataclasses.replace(box, edges=tuple(edges.tolist()))
    # Of the axes that people take away the left one and the lower one stay. The first frame and the lowest frequency
    # may be even lines too, but hardly of the same thickness.
    if 0 < widths[0] == widths[3] <= _MAX_HALF_FRAME and alike([0, 3], _FRAME_CONTRAST):
        how = f"a frame of {widths[0]} px on two sides"
        return _within(outer, starts, [widths[0], 0, 0, widths[3]], 1.5, 0.8, how)
    return None


def _line(lines: Strip, margin: NDArray[np.int16], lossy: bool) -> tuple[int, int, NDArray[np.int16]]:
    """Where a line of one colour begins at a side, how wide it is (0 if there is none), and its colour."""
    values = lines.astype(np.int16)
    colours = np.median(values, axis=1).astype(np.int16)
    even = (np.abs(_lightness(values - colours[:, None])) <= 2 * _TOLERANCE).mean(axis=1) > 0.95
    contrasts = np.abs(_lightness(colours - margin)) * even
    # A line that does not end with a pixel has a paler one on both sides, and JPEG's colours run out of it.
    start = int(np.argmax(contrasts[:_MAX_PALE] > 0.6 * contrasts[:_MAX_PALE].max()))
    if contrasts[start] <= _TOLERANCE:
        return 0, 0, colours[0]
    full = colours[start + int(np.argmax(contrasts[start : start + 2]))]
    same = even & (np.abs(_lightness(colours - full)) <= 2 * _TOLERANCE)
    if not lossy:
        same &= np.abs(colours - full).max(axis=-1) <= 2 * _TOLERANCE
    width = len(lines) - start if same[start:].all() else int(np.argmin(same[start:]))
    return start, width, full


def _lightness(colours: NDArray[np.int16]) -> NDArray[np.float64]:
    """What JPEG keeps sharper than colour; shape (..., channels) to (...)."""
    lightness: NDArray[np.float64] = colours @ np.array(_LIGHTNESS if colours.shape[-1] == 3 else [1.0])
    return lightness


def _within(outer: Sides, starts: list[int], widths: list[int], slack: float, confidence: float, how: str) -> Box:
    """The axes, which end in the middle of a frame's line."""
    sides = list(zip(outer, _INWARDS, starts, widths, strict=True))
    inside = [side + sign * (start + width + min(start, 1) if width else 0) for side, sign, start, width in sides]
    # matplotlib moves the middle of a line to the nearest edge of pixels, and from there half a pixel to the right and
    # down if the line is an odd number of pixels wide.
    edges = [side + sign * (start + width / 2) - width % 2 / 2 if width else side for side, sign, start, width in sides]
    return Box(
        (inside[0], inside[1], inside[2], inside[3]), (edges[0], edges[1], edges[2], edges[3]), slack, confidence, how
    )
