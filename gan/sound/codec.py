"""Magnitude spectrograms as greyscale PNG files that can be read back.

A pixel is a level in equal steps of dB, white is the loudest cell and black is `settings.floor_db` below it. The
settings, the level of white and where the sound came from are text inside the file, so that a file is all one needs.
Low frequencies lie at the bottom, as people draw them.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from gan.errors import InputError, NotNow, unreadable
from gan.files import atomic_write, refuse_pipes
from gan.plain import made_of
from gan.sound.channel import MIX, check_channel
from gan.sound.settings import SpectrogramSettings

if TYPE_CHECKING:
    # Not at run time: what stands in a file's header is known without torch.
    from torch import Tensor

Codes = NDArray[np.uint8 | np.uint16]

_TEXT_KEY = "spectrogram"
_DESCRIPTION = "Description"
_FORMAT = 1
# Our own guard against decompression bombs, in place of Pillow's global one: 30 hours at librosa's default grid.
_MAX_PIXELS = 4_000_000_000
# A level below -400 dB is nobody's sound; it keeps a silent window's level out of the logarithm's trouble.
_MIN_MAGNITUDE = 1e-20
_MOST_DB = 400.0


@dataclass(frozen=True)
class Origin:
    """Where an image's sound came from.

    Attributes:
        recording: Path of the recording, relative to the image's folder, with forward slashes.
        start_second: Where the window starts in the recording, in seconds.
        n_samples: Length of the window in samples at the settings' sample rate.
        last: Whether the recording ends with this window.
        channel: Which of its channels: "mix", "left", "right", or a number from 1.
    """

    recording: str
    start_second: float
    n_samples: int
    last: bool
    channel: str | int = MIX

    def __post_init__(self) -> None:
        if not (0 <= self.start_second < 1e9 and self.n_samples > 0):
            raise InputError(f"{self.n_samples} samples from second {self.start_second:g} are no part of a recording")
        check_channel(self.channel)

    def to_dict(self) -> dict[str, Any]:
        """The attributes, for JSON; those of a mix as earlier versions read them."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if (name, value) != ("channel", MIX)}


@dataclass(frozen=True)
class ImageHeader:
    """The text inside an image file, and its width.

    Attributes:
        settings: The grid and the recorded range.
        level_db: Level of white (the loudest cell) in dB, 0 dB being a magnitude of 1; None if all is silence.
        n_frames: Width of the image.
        origin: Where the sound came from; None if it was not recorded.
        description: Text for people.
    """

    settings: SpectrogramSettings
    level_db: float | None
    n_frames: int
    origin: Origin | None
    description: str = ""

    @property
    def n_samples(self) -> int:
        """Length of the waveform in samples."""
        return self.settings.n_samples(self.n_frames) if self.origin is None else self.origin.n_samples


def codes_from_magnitude(magnitude: "Tensor", settings: SpectrogramSettings) -> tuple[Codes, float | None]:
    """Quantise a magnitude spectrogram in equal steps of dB below its loudest cell.

    Args:
        magnitude: Linear amplitude >= 0, shape (n_freqs, n_frames).
        settings: Says the floor and the number of bits.

    Returns:
        The codes, same shape, 0 for the floor and 2**bits - 1 for the loudest cell, and the loudest cell's level in
        dB (None for silence, whose codes are all 0).
    """
    import torch

    top = 2**settings.bits - 1
    dtype = np.uint16 if settings.bits == 16 else np.uint8
    loudest = float(magnitude.max())
    if loudest < _MIN_MAGNITUDE:
        return np.zeros(magnitude.shape, dtype), None
    relative_db = 20.0 * torch.log10(magnitude.double().clamp_min(_MIN_MAGNITUDE) / loudest)
    codes = ((1.0 - relative_db / settings.floor_db) * top).round_().clamp_(0, top)
    return codes.numpy().astype(dtype), 20.0 * math.log10(loudest)


def magnitude_from_codes(codes: Codes, level_db: float | None, settings: SpectrogramSettings) -> "Tensor":
    """Inverse of `codes_from_magnitude`, to half a quantisation step; what lay below the floor comes back at it.

    Returns:
        Linear amplitude, float32, shape of the codes.
    """
    import torch

    from gan.sound.spectrogram import magnitude_from_db

    if level_db is None:
        return torch.zeros(codes.shape)
    top = 2**settings.bits - 1
    relative_db = (1.0 - torch.from_numpy(codes.astype(np.float64)) / top) * settings.floor_db
    return magnitude_from_db(relative_db + level_db).float()


def encode_image(
    path: Path,
    magnitude: "Tensor",
    settings: SpectrogramSettings,
    origin: Origin | None = None,
    description: str = "",
) -> ImageHeader:
    """Write a magnitude spectrogram as a PNG file, atomically.

    Args:
        path: The file to write.
        magnitude: Linear amplitude >= 0, shape (n_freqs, n_frames).
        settings: The grid that the magnitude was made on.
        origin: Where the sound came from.
        description: Text for people, PNG's "Description".

    Returns:
        What stands in the file's text.
    """
    codes, level_db = codes_from_magnitude(magnitude, settings)
    header = ImageHeader(settings, level_db, codes.shape[1], origin, description)
    text = {
        "format": _FORMAT,
        "settings": settings.to_dict(),
        "level_db": level_db,
        "origin": None if origin is None else origin.to_dict(),
    }
    info = PngImagePlugin.PngInfo()
    info.add_itxt(_TEXT_KEY, json.dumps(text, ensure_ascii=False))
    if description:
        info.add_itxt(_DESCRIPTION, description)
    with atomic_write(path) as part:
        Image.fromarray(np.ascontiguousarray(codes[::-1])).save(part, "PNG", pnginfo=info)
    return header


def read_header(path: Path) -> ImageHeader:
    """Read the text of an image file without decoding its pixels.

    Raises:
        InputError: If it is not a PNG that `encode_image` wrote.
    """
    with _opened(path) as (_, header):
        return header


def read_whole_header(path: Path) -> ImageHeader:
    """Read the text of an image file and every part's checksum, still without decoding its pixels.

    Raises:
        InputError: If it is not a PNG that `encode_image` wrote, or is damaged.
    """
    with _opened(path) as (image, header):
        image.verify()
    return header


def has_header(path: Path) -> bool:
    """Whether a file is a PNG with our text in it, be it readable or not."""
    try:
        refuse_pipes(path)
        with path.open("rb") as file:
            return _TEXT_KEY in PngImagePlugin.PngImageFile(file).info
    except Exception:  # Pillow's reader raises whatever a damaged file leads it into.
        return False


def read_codes(path: Path) -> tuple[Codes, ImageHeader]:
    """Read an image file's codes, shape (n_freqs, n_frames), lowest frequency first, and its text.

    Raises:
        InputError: If it is not a PNG that `encode_image` wrote, or is damaged.
    """
    with _opened(path) as (image, header):
        codes = np.asarray(image)
    dtype = np.uint16 if header.settings.bits == 16 else np.uint8
    if codes.dtype != dtype:
        raise InputError(f"{path}: {codes.dtype} pixels, {dtype.__name__} were expected; was it edited?")
    return codes[::-1], header


def decode_image(path: Path) -> "tuple[Tensor, ImageHeader]":
    """Inverse of `encode_image`.

    Returns:
        The magnitude, shape (n_freqs, n_frames), float32, and what stands in the file's text.

    Raises:
        InputError: If it is not a PNG that `encode_image` wrote, or is damaged.
    """
    codes, header = read_codes(path)
    return magnitude_from_codes(codes, header.level_db, header.settings), header


@contextmanager
def _opened(path: Path) -> Iterator[tuple[PngImagePlugin.PngImageFile, ImageHeader]]:
    """An image file and its text; what goes wrong with its pixels, but for the disk, means that it is damaged."""
    refuse_pipes(path)
    with path.open("rb") as file:
        # Opened by its class and not by Image.open, which has a process-wide pixel limit and tries every format.
        try:
            image = PngImagePlugin.PngImageFile(file)
        except Exception as error:  # as above
            why = f"{path}: not a PNG image ({error}); images come from `gan encode`"
            raise unreadable(path, error, why) from error
        if image.width * image.height > _MAX_PIXELS:
            raise InputError(f"{path}: {image.width} x {image.height} pixels are more than a spectrogram can have")
        header = _header(image, path)
        try:
            yield image, header
        except MemoryError as error:
            raise NotNow(f"{path}: {image.width} x {image.height} pixels do not fit into the memory") from error
        except Exception as error:  # as above
            why = f"{path}: the image is damaged ({error}); encode its recording again"
            raise unreadable(path, error, why) from error


def _header(image: PngImagePlugin.PngImageFile, path: Path) -> ImageHeader:
    if _TEXT_KEY not in image.info:
        raise InputError(
            f"{path}: no settings in it: this PNG was not written by `gan encode`, or a program that changed it "
            "dropped them; encode the recording again"
        )
    try:
        text = json.loads(image.info[_TEXT_KEY])
        if text["format"] != _FORMAT:
            raise ValueError(f"format {text['format']} of another version, {_FORMAT} was expected")
        settings = SpectrogramSettings.from_dict(text["settings"])
        origin: Origin | None = made_of(Origin | None, text["origin"], "origin")
        level_db: float | None = made_of(float | None, text["level_db"], "level_db")
        if level_db is not None and abs(level_db) > _MOST_DB:
            raise ValueError(f"level_db is {level_db:g}")
        n_frames = image.width if origin is None else settings.n_frames(origin.n_samples)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its settings cannot be read ({error}); encode the recording again") from error
    if image.height != settings.n_freqs:
        raise InputError(
            f"{path}: {image.height} pixels high, but n_fft {settings.n_fft} makes {settings.n_freqs}; was it resized?"
        )
    if image.width != n_frames:
        raise InputError(f"{path}: {image.width} pixels wide, but its sound makes {n_frames}; was it resized?")
    return ImageHeader(settings, level_db, image.width, origin, str(image.info.get(_DESCRIPTION, "")))
