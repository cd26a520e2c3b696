"""Reads pictures of spectrograms that carry no settings of ours: finds out what they show, and says how surely."""

from pathlib import Path

from gan.sound.figure.arrays import is_riffusion, read_cells, read_numbers, read_riffusion
from gan.sound.figure.drawn import read_drawn
from gan.sound.figure.figure import Figure, Notes
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import has_numbers, load_pixels, open_picture, peak_bytes_of
from gan.sound.figure.sox import find_sox, read_sox

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".npy"})
_LOSSY = ("JPEG", "MPO", "WEBP")


def peak_bytes(path: Path) -> int:
    """About how much memory reading a picture takes, from its header.

    Raises:
        InputError: If the header cannot be read.
    """
    if path.suffix.lower() == ".npy":
        return 6 * path.stat().st_size + 60_000_000
    with open_picture(path) as image:
        return peak_bytes_of(image)


def read_figure(path: Path, options: FigureOptions) -> Figure:
    """Read a picture of a spectrogram: a matplotlib figure, an array of cells or another program's picture.

    Args:
        path: A picture (JPEG, PNG, TIFF, WebP, BMP) or .npy.
        options: What is known of it. What is not given is found where the picture shows it.

    Raises:
        InputError: If it is damaged, shows no spectrogram, or something has to be given.
    """
    if path.suffix.lower() == ".npy":
        return read_numbers(path, options)
    with open_picture(path) as image:
        if has_numbers(image):
            return read_numbers(path, options)
        if is_riffusion(image):
            return read_riffusion(path, image, options)
        pixels = load_pixels(image, path)
        if (palette := find_sox(pixels)) is not None:
            return read_sox(path, pixels, palette, options)
        figure = read_drawn(pixels, image.format in _LOSSY, options, Notes(path))
        return read_cells(path, pixels.rows(0, pixels.height), options) if figure is None else figure
