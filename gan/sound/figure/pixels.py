"""Picture files of any kind as strips of pixels, without Pillow's global limits and without copies of the whole."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from gan.errors import InputError, NotNow, unreadable
from gan.files import refuse_pipes

Strip = NDArray[np.uint8]

# Our own guard against decompression bombs. A 20 inch figure at 1000 dpi has 4e8 pixels.
MAX_PIXELS = 1_000_000_000
# Deflate packs at most 1032 bytes into one; a header that claims more pixels for its bytes is wrong.
_MAX_PIXELS_PER_BYTE = 1100
# Pictures that are larger are first looked at in their first bytes, to see whether their colours are all grey.
_LARGE = 25_000_000
_HEAD_BYTES = 16_000_000
_HEAD_ROWS = (256, 2048, 65_535)
_NEUTRAL = 6
_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_NUMBER_MODES = {"I;16", "I;16B", "I;16L", "I", "F"}
_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Pixels:
    """The decoded pixels of a picture, read in strips.

    Attributes:
        width: In pixels.
        height: In pixels.
        grey: Whether strips have one channel.
    """

    def __init__(self, image: Image.Image, grey: bool) -> None:
        self._image = image
        self.width, self.height = image.size
        self.grey = grey

    def strip(self, left: int, top: int, right: int, bottom: int) -> Strip:
        """A part of the picture, shape (rows, columns) if it is grey, else (rows, columns, 3)."""
        part = self._image.crop((left, top, right, bottom))
        if part.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (part.mode == "P" and "transparency" in part.info):
            part = part.convert("RGBA")
            # What is transparent shows a white page, as in every viewer.
            part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part)
        if self.grey:
            return np.asarray(part if part.mode == "L" else part.convert("L"))
        return np.asarray(part if part.mode == "RGB" else part.convert("RGB"))

    def close(self) -> None:
        """Give the memory back."""
        self._image.close()

    def rows(self, top: int, bottom: int) -> Strip:
        """Whole rows."""
        return self.strip(0, top, self.width, bottom)

    def thumbnail(self, longest: int) -> tuple[Strip, int]:
        """The picture made smaller by averaging whole blocks, and by which factor."""
        factor = max(1, -(-max(self.width, self.height) // longest))
        # In strips, so that neither a conversion nor Pillow's check of large crops sees the whole.
        height = max(factor, 8_000_000 // self.width // factor * factor)
        parts = []
        for top in range(0, self.height, height):
            part = Image.fromarray(self.rows(top, min(self.height, top + height)))
            parts.append(np.asarray(part if factor == 1 else part.reduce(factor)))
        return np.concatenate(parts), factor


def open_picture(path: Path) -> Image.Image:
    """Read the header of a picture; its pixels come later.

    Raises:
        InputError: If it is none of the known kinds, has too many pixels or several frames; `NotNow` if it cannot be
            opened.
    """
    try:
        refuse_pipes(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise NotNow(f"{path}: cannot be opened ({error.strerror})") from error
    if size == 0:
        raise InputError(f"{path}: the file is empty; make or copy it again")
    kind = _kind(head)
    if kind is None:
        raise InputError(
            f"{path}: not a picture (JPEG, PNG, TIFF, WebP, BMP or GIF were expected), it begins with {head[:8]!r}"
        )
    try:
        # By a path and not by a file, so that the picture closes it.
        image = kind(str(path))
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them into.
        raise damaged(path, error) from error
    try:
        _refuse(image, path, size)
    except InputError:
        image.close()
        raise
    except Exception as error:  # as above
        image.close()
        raise damaged(path, error) from error
    return image


def _refuse(image: Image.Image, path: Path, size: int) -> None:
    """Refuse what would be too large, or cannot be true, before anything is decoded."""
    claimed = f"{path}: claims {image.width} x {image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{claimed}, at most {MAX_PIXELS:.0e} are read; draw it smaller")
    if image.width * image.height > _MAX_PIXELS_PER_BYTE * size:
        raise InputError(f"{claimed} in {size} bytes, which cannot be; it is damaged")
    n_pictures = getattr(image, "n_frames", 1)
    if n_pictures > 1 and image.format in ("GIF", "PNG", "TIFF", "WEBP"):
        raise InputError(f"{path}: holds {n_pictures} pictures; save the one that is meant by itself")


def damaged(path: Path, error: Exception) -> InputError:
    """The line for a picture whose reader raised an error: that it is damaged, or `NotNow` if it is the disk."""
    return unreadable(path, error, f"{path}: the picture is damaged ({error or type(error).__name__}); make it again")


def _kind(head: bytes) -> Callable[[str], Image.Image] | None:
    """Pillow's class for a file's first bytes. Image.open has a process-wide limit of pixels and tries every format."""
    if head.startswith(b"\xff\xd8"):
        return JpegImagePlugin.JpegImageFile
    if head.startswith(b"\x89PNG"):
        return PngImagePlugin.PngImageFile
    if head.startswith((b"II*\0", b"MM\0*")):
        return TiffImagePlugin.TiffImageFile
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if head.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile
    return GifImagePlugin.GifImageFile if head.startswith(b"GIF8") else None


def has_numbers(image: Image.Image) -> bool:
    """Whether a picture's pixels are 16-bit or float numbers, which a figure's never are."""
    return image.mode in _NUMBER_MODES


def peak_bytes_of(image: Image.Image) -> int:
    """About how much memory reading a picture takes at its peak."""
    n_pixels = image.width * image.height
    if has_numbers(image):
        return 12 * n_pixels
    per_pixel = 4 if image.mode not in ("1", "L", "P") else 1
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Large grey ones are decoded as grey; colour is not known from the header, and 4 is then too low a guess only
        # for memory that is shared. Progressive ones hold all coefficients.
        per_pixel = (1 if n_pixels > _LARGE else per_pixel) + (4 if "progressive" in image.info else 0)
    return int(per_pixel * n_pixels * 1.1) + 60_000_000


def load_pixels(image: Image.Image, path: Path) -> Pixels:
    """Decode a picture that `open_picture` has opened.

    A large JPEG whose colours are all grey is decoded as grey, in a quarter of the memory and half of the time.

    Raises:
        InputError: If it is damaged or of a kind that cannot be drawn.
    """
    if image.mode not in _MODES:
        raise InputError(f"{path}: pixels of kind {image.mode!r}, grey or RGB were expected; save it as PNG")
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
        if image.mode == "L" or (_is_large_jpeg(image) and _head_is_grey(path, image)):
            image.draft("L", image.size)
        image.load()
        if orientation in _TRANSPOSE:
            image = image.transpose(_TRANSPOSE[orientation])
        pixels = Pixels(image, grey=image.mode in ("1", "L"))
        if not pixels.grey:
            pixels.grey = _is_grey(pixels.thumbnail(1000)[0])
        return pixels
    except MemoryError as error:
        raise NotNow(f"{path}: {image.width} x {image.height} pixels do not fit into the memory") from error
    except Exception as error:  # as above
        raise damaged(path, error) from error


def _is_large_jpeg(image: Image.Image) -> bool:
    return isinstance(image, JpegImagePlugin.JpegImageFile) and image.width * image.height > _LARGE


def _is_grey(pixels: Strip) -> bool:
    spread = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1)
    return float(np.mean(spread > _NEUTRAL)) < 0.002


def _head_is_grey(path: Path, image: Image.Image) -> bool:
    """Whether a large JPEG's first rows show a picture and no colour."""
    with path.open("rb") as file:
        head = bytearray(file.read(_HEAD_BYTES))
    position = _height_position(head)
    if position is None:
        return False
    for n_rows in _HEAD_ROWS:
        # A header that says the picture ends after these rows: libjpeg then decodes no more of it.
        struct.pack_into(">H", head, position, min(n_rows, image.height))
        with JpegImagePlugin.JpegImageFile(BytesIO(head + b"\xff\xd9")) as start:
            start.draft("RGB", (image.width // 8, start.height // 8))
            start.load()
            pixels = np.asarray(start)
        if pixels.ndim != 3 or not _is_grey(pixels):
            return False
        # Rows of one shade are a margin, or silence above the highest overtone: they say nothing about what follows.
        if len(np.unique(pixels[..., 0])) > 8:
            return True
    return False


def _height_position(jpeg: bytes | bytearray) -> int | None:
    """Where a JPEG's header says its height (T.81, B.2.2); None if it is not found."""
    position = 2
    while position + 9 < len(jpeg) and jpeg[position] == 0xFF:
        marker, length = jpeg[position + 1], struct.unpack_from(">H", jpeg, position + 2)[0]
        # SOF0 to SOF2: baseline, extended and progressive.
        if marker in (0xC0, 0xC1, 0xC2):
            return position + 5
        position += 2 + length
    return None
