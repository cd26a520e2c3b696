"""Colours back to values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError
from gan.sound.figure import sox_palette

# What librosa and its users draw with; others are found when they are named.
NAMES = (
    "gray", "viridis", "magma", "inferno", "plasma", "cividis", "jet", "turbo", "coolwarm",
)  # fmt: skip
_N_COLOURS = 256
# Median distance, in steps of 8 bits, from which on the colours are not of this map: of pictures that were stored
# exactly, and of JPEGs, whose colours are half as sharp as their light, and of cells that run into each other.
_MAX_DISTANCE = 4.0
_MAX_DISTANCE_MIXED = 9.0
# Distance up to which no other map is looked for.
_EXACT = 1.0
# The same for maps that few use: of so many one comes nearer to a photograph.
_MAX_DISTANCE_RARE = 2.0
_MAX_DISTANCE_RARE_MIXED = 5.0
# Pixels that are compared with these.
_N_RARE = 500
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Colormap:
    """A colour map of matplotlib's and how well a picture fits it.

    Attributes:
        name: matplotlib's name.
        colours: Shape (256, 3), float32, 0 to 255, lowest value first.
        distance: Median distance of the picture's colours from the map's, in steps of 8 bits.
        confidence: 1 if no other map comes near.
    """

    name: str
    colours: NDArray[np.float32]
    distance: float = 0.0
    confidence: float | None = None

    def reversed(self) -> "Colormap":
        """The map from the other end."""
        name = self.name.removesuffix("_r") if self.name.endswith("_r") else f"{self.name}_r"
        return Colormap(name, self.colours[::-1], self.distance, self.confidence)

    def codes(self, rgb: NDArray[np.generic]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Values of colours: of the nearest colour of the map.

        A colour stands for the interval of values that matplotlib draws with it; its middle is given.

        Args:
            rgb: Shape (..., 3), 0 to 255.

        Returns:
            Values in (0, 1) and distances in steps of 8 bits, both of shape (...).
        """
        flat = rgb.reshape(-1, 3)
        codes = np.empty(len(flat), np.float32)
        distances = np.empty(len(flat), np.float32)
        lengths = np.square(self.colours).sum(axis=1)
        for start in range(0, len(flat), _CHUNK):
            part = flat[start : start + _CHUNK].astype(np.float32)
            # |a - b|^2 without |a|^2, which is the same for all colours of the map.
            squares = part @ (-2.0 * self.colours.T) + lengths
            nearest = squares.argmin(axis=1)
            codes[start : start + _CHUNK] = nearest
            distances[start : start + _CHUNK] = np.linalg.norm(part - self.colours[nearest], axis=1)
        values = (codes + np.float32(0.5)) / np.float32(len(self.colours))
        return values.reshape(rgb.shape[:-1]), distances.reshape(rgb.shape[:-1])


def identify(pixels: NDArray[np.generic], name: str | None, path: Path, mixed: bool = False) -> Colormap:
    """Find the colour map of a picture. Which of its ends is the quiet one is not looked at.

    Args:
        pixels: Shape (n, 3), 0 to 255, from within the spectrogram.
        name: The map, if it is known; then only its distance is measured.
        path: The picture, for messages.
        mixed: Whether most colours are mixtures of those that were drawn (JPEG, interpolation).

    Raises:
        InputError: If no known map is near, or there is no map of the given name.
    """
    if not mixed:
        # Every colour once, or silence would decide.
        pixels = np.unique(pixels, axis=0)
    if name is not None:
        chosen = _named(name, path)
        return Colormap(chosen.name, chosen.colours, _distance(chosen, pixels))
    (distance, best), (second, _) = _ranked(NAMES, pixels)
    if distance > (_MAX_DISTANCE if best == "gray" else _EXACT):
        (rare_distance, rare), (rare_second, _) = _ranked(_rare_names(), pixels[:: max(1, len(pixels) // _N_RARE)])
        if rare_distance <= min(distance / 2, _MAX_DISTANCE_RARE_MIXED if mixed else _MAX_DISTANCE_RARE):
            distance, best, second = rare_distance, rare, min(distance, rare_second)
    # What is nearly grey is a faint photograph rather than greys with colours.
    limit = _MAX_DISTANCE_MIXED if mixed and best != "gray" else _MAX_DISTANCE
    if distance > limit:
        # Rounded up: what is above the limit must read so.
        shown = math.ceil(distance) if distance > 2 * limit else math.ceil(10 * distance) / 10
        raise InputError(
            f"{path}: its colours are of no known colour map; {best} is the closest with a median distance of {shown} "
            f"of 255 (at most {limit:.0f} is taken for it); give matplotlib's name with --colormap"
        )
    # A picture of two colours fits anything that holds them.
    confidence = float(np.clip((second - distance) / (0.5 * _MAX_DISTANCE_MIXED), 0, 1))
    return Colormap(best, _colormap(best).colours, distance, confidence)


def _ranked(names: Sequence[str], pixels: NDArray[np.generic]) -> list[tuple[float, str]]:
    """Distances of the two nearest maps, and their names."""
    return sorted(((_distance(_colormap(name), pixels), name) for name in names), key=lambda pair: pair[0])[:2]


@cache
def _rare_names() -> tuple[str, ...]:
    """SoX's palettes and all maps of matplotlib's that are no list of a few colours and no other one's reverse."""
    from matplotlib import colormaps

    # Maps of which some have two names: the first is told.
    names = [name for name in colormaps if colormaps[name].N == _N_COLOURS and not name.endswith("_r")]
    return (*sox_palette.NAMES, *{_colormap(name).colours.tobytes(): name for name in reversed(names)}.values())


def _named(name: str, path: Path) -> Colormap:
    try:
        return _colormap(name)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: matplotlib has no colour map {name!r}; usual are {', '.join(NAMES)}") from error


@cache
def _colormap(name: str) -> Colormap:
    if name.removesuffix("_r") in sox_palette.NAMES:
        colours = sox_palette.palette(name.removesuffix("_r"))
        return Colormap(name, colours[::-1] if name.endswith("_r") else colours)
    from matplotlib import colormaps

    # matplotlib's own conversion to bytes cuts off, its renderer rounds: these are the renderer's.
    rgba = colormaps[name]((np.arange(_N_COLOURS) + 0.5) / _N_COLOURS)
    return Colormap(name, np.rint(255 * rgba[:, :3]).astype(np.float32))


def _distance(colormap: Colormap, pixels: NDArray[np.generic]) -> float:
    return float(np.median(colormap.codes(pixels)[1]))
