"""Reads files of one number or one pixel a cell: matrices, pictures of matrices, riffusion's pictures."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan.errors import InputError, NotNow, is_of_disk
from gan.files import refuse_pipes
from gan.sound.figure.colormap import Colormap, identify
from gan.sound.figure.figure import Figure, Notes
from gan.sound.figure.levels import DECADE_DB
from gan.sound.figure.matrix import MAX_CELLS, Levels, Matrix
from gan.sound.figure.options import FigureOptions, Values
from gan.sound.figure.pixels import damaged, open_picture
from gan.sound.figure.shade import WHITE_IS_LOUD, WHITE_IS_QUIET, as_loudness
from gan.sound.settings import Bits, MelBands, SpectrogramSettings

Numbers = NDArray[np.generic]

# What numbers keep below their loudest one; a recording of 16 bits keeps less.
_FLOOR_DB = -120.0
# Levels of a sound span more than this and lie within these; natural logarithms and the [-1, 1] of a GAN do not.
_MIN_SPAN_DB = 20.0
_POSSIBLE_DB = (-1000.0, 300.0)
# The loudest cell is at 0 dB, but for rounding, where levels are relative to it.
_IS_ZERO_DB = 1e-4
_N_COLOURS = 256
_N_SAMPLES = 20_000
_MAX_DISTANCE = 30.0

# EXIF tags of riffusion's pictures (riffusion-hobby, riffusion/spectrogram_params.py).
_SAMPLE_RATE, _STEP_MS, _WINDOW_MS, _PADDED_MS = 11000, 11010, 11020, 11030
_N_MELS, _MIN_HZ, _MAX_HZ, _POWER = 11040, 11050, 11060, 11070
_STEREO, _MAX_VALUE = 11005, 11080
# Full scale of the samples that riffusion transforms without scaling: those of pydub, which makes 24 bits 32.
_INT16, _INT32 = 2.0**15, 2.0**31
# 0.4 s at 192 kHz are 76,800; what a damaged tag says must not fill the memory.
_MAX_N_FFT = 2**17


def read_numbers(path: Path, options: FigureOptions) -> Figure:
    """Read a matrix of numbers: .npy, TIFF of floats, or grey PNG or TIFF of 16 bits.

    Floats are levels in dB if some are negative; if not, `options.values` must say what they are. Unsigned numbers of
    8 or 16 bits are equal steps over `options.range_db` unless `options.values` says something else. The first row of
    a .npy file is the lowest frequency, as librosa has it, unless `options.upside_down` is False.

    Args:
        path: The file.
        options: What is known of it.

    Raises:
        InputError: If it is damaged, no spectrogram, or something has to be given.
    """
    is_npy = path.suffix.lower() == ".npy"
    numbers = _npy(path) if is_npy else _picture_of_numbers(path)
    matrix = Matrix(path, numbers.shape, options)
    if numbers.dtype.kind == "u" and numbers.dtype.itemsize <= 2 and options.values is None:
        bits: Bits = 8 if numbers.dtype.itemsize == 1 else 16
        matrix.notes.found("values", f"steps of {bits} bits", 1.0, f"{numbers.dtype} numbers")
        relative_db = matrix.levels_of_values(np.asarray(numbers, np.float32) / np.float32(2**bits - 1))
        return matrix.figure(relative_db, -options.range_db, bits, first_is_lowest=is_npy)
    relative_db, level_db = _levels_of_numbers(matrix, numbers)
    return matrix.figure(relative_db, _FLOOR_DB, 16, level_db=level_db, first_is_lowest=is_npy)


def read_cells(path: Path, pixels: NDArray[np.uint8], options: FigureOptions) -> Figure:
    """Read a picture of 8 bits and one pixel a cell, as matplotlib's imsave and audio-diffusion write them.

    The greys 0 to 255 are equal steps over `options.range_db`. Colours are matplotlib's, 256 intervals of the same
    range; a colour is taken for the middle of its interval.

    Args:
        path: The file, for messages.
        pixels: Shape (height, width) or (height, width, 3), the top row first.
        options: What is known of it.

    Raises:
        InputError: If it is no spectrogram, or something has to be given.
    """
    matrix = Matrix(path, pixels.shape[:2], options)
    relative_db = matrix.levels_of_values(_values_of_pixels(matrix, pixels), are_colours=True)
    if pixels.ndim == 2:
        return matrix.figure(relative_db, -options.range_db, 8)
    step_db = options.range_db / _N_COLOURS
    return matrix.figure(relative_db, -step_db * (_N_COLOURS - 1), 8, top_db=-step_db / 2)


def is_riffusion(image: Image.Image) -> bool:
    """Whether a picture carries riffusion's settings. Its pixels are not decoded."""
    # Pillow's getexif would decode a PNG without EXIF to its end in search of it.
    if "exif" not in image.info:
        return False
    try:
        exif = image.getexif()
        return _SAMPLE_RATE in exif and _N_MELS in exif
    except Exception:  # What is no EXIF leads Pillow's reader into anything; such a picture is not riffusion's.
        return False


def read_riffusion(path: Path, image: Image.Image, options: FigureOptions) -> Figure:
    """Read a picture of riffusion's (riffusion-hobby, spectrogram_converter.py and util/image_util.py).

    A pixel is 255 (1 - (amplitude / maximum) ** power), cut off to a whole number; half a step is put back here. The
    maximum is in the EXIF, though riffusion never reads it again: with it the level is the recording's. Riffusion
    transforms samples as whole numbers; full scale is 32768, or 2**31 where 16 bits cannot have made the maximum. Of
    two channels (green and blue) the mean of the amplitudes is taken.

    Args:
        path: The file, for messages.
        image: The picture, opened.
        options: Not needed; those that contradict the file are named in a warning.

    Raises:
        InputError: If it is damaged, was resized, or its settings are of no use.
    """
    exif = image.getexif()
    try:
        rate, n_mels = int(exif[_SAMPLE_RATE]), int(exif[_N_MELS])
        # Rounded down as riffusion does.
        n_fft, hop_length, win_length = (int(exif[tag] / 1000.0 * rate) for tag in (_PADDED_MS, _STEP_MS, _WINDOW_MS))
        bands = MelBands(n_mels, float(exif.get(_MIN_HZ, 0)), float(exif[_MAX_HZ]), htk=True, norm=None, power=1)
        settings = SpectrogramSettings(rate, n_fft, hop_length, win_length, "hann", _FLOOR_DB, 16)
        power, maximum = float(exif[_POWER]), float(exif.get(_MAX_VALUE, math.nan))
        if not 0 < power <= 1 or n_fft > _MAX_N_FFT:
            raise ValueError(f"power_for_image {power:g}, n_fft {n_fft}")
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        reason = f"tag {error} is missing" if isinstance(error, KeyError) else error
        raise InputError(
            f"{path}: riffusion's settings in it are of no use ({reason}); make the picture again"
        ) from error
    if image.height != n_mels:
        raise InputError(
            f"{path}: {image.height} pixels high, but riffusion's settings in it say {n_mels}; was it resized?"
        )
    if image.width * image.height > MAX_CELLS:
        raise InputError(f"{path}: {image.width} x {image.height} cells, at most {MAX_CELLS:.0e} are read; cut it up")
    if image.width < 2 or maximum == 0:
        raise InputError(f"{path}: shows nothing but silence; leave it out")
    notes = Notes(path)
    stereo = bool(exif.get(_STEREO, 0))
    try:
        pixels = np.asarray(image.convert("RGB"))[::-1]
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them into.
        raise damaged(path, error) from error
    # 255 is 0 and nothing else.
    steps = np.where(np.arange(256) < 255, 254.5 - np.arange(256), 0) / 255
    amplitudes = (steps ** (1 / power)).astype(np.float32)[pixels[..., 1:] if stereo else pixels[..., :1]].mean(axis=-1)
    relative_db = 20 * np.log10(np.maximum(amplitudes, np.float32(10 ** (_FLOOR_DB / 20))))
    in_exif = "in the EXIF of riffusion's picture"
    given = {
        "n_fft": n_fft,
        "hop_length": hop_length,
        "win_length": win_length,
        "n_mels": n_mels,
        "max_hz": bands.max_hz,
    }
    for name, value in {"sample_rate": f"{rate} Hz", "y_axis": "mel", **given}.items():
        notes.found(name, f"{value:g}" if isinstance(value, float) else str(value), 1.0, in_exif)
    for name, value in given.items():
        if getattr(options, name) not in (None, value):
            notes.warnings.append(
                f"{name} {getattr(options, name):g} was given, but the file says {value:g} and is right"
            )
    notes.found("channels", "2" if stereo else "1", 1.0, "green and blue; their mean is read" if stereo else in_exif)
    notes.found(
        "range_db", f"{-_FLOOR_DB:g} dB", None, f"256 steps of amplitude ** {power:g}; what is quieter is cut off"
    )
    notes.found("frames", str(image.width), 1.0, "columns")
    notes.found("seconds", f"{settings.n_samples(image.width) / rate:.2f}", None, "frames x hop_length / sample_rate")
    level_db = None
    if maximum > 0 and math.isfinite(maximum):
        # More than any sound of 16 bits comes to: a bound of a band's sum is the root of its width times n_fft.
        full_scale = _INT16 if maximum < 4 * n_fft * _INT16 else _INT32
        level_db = 20 * math.log10(maximum / full_scale)
        notes.found("level", "known", 0.9, f"the maximum is {level_db:.1f} dB if full scale is {full_scale:.0f}")
    else:
        notes.found("level", "lost", None, "no maximum in the EXIF")
    return Figure(path, settings, relative_db, bands, tuple(notes.findings), tuple(notes.warnings), level_db=level_db)


def _npy(path: Path) -> Numbers:
    try:
        refuse_pipes(path)
        # Mapped: what the header claims is seen, and refused, before anything is read.
        numbers: Numbers = np.lib.format.open_memmap(path, mode="r")
    except InputError:
        raise
    except Exception as error:  # A damaged header leads numpy into more than ValueError.
        if is_of_disk(error):
            raise NotNow(f"{path}: cannot be opened ({error.strerror})") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: not a whole .npy file of numbers ({reason}); save the matrix with np.save"
        ) from error
    if numbers.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: numbers of kind {numbers.dtype}, floats or integers were expected; of a complex STFT save np.abs"
        )
    return numbers


def _picture_of_numbers(path: Path) -> Numbers:
    with open_picture(path) as image:
        try:
            return np.asarray(image)
        except MemoryError as error:
            raise NotNow(f"{path}: {image.width} x {image.height} numbers do not fit into the memory") from error
        except Exception as error:  # as above
            raise damaged(path, error) from error


def _levels_of_numbers(matrix: Matrix, numbers: Numbers) -> tuple[Levels, float | None]:
    """Levels in dB below the loudest cell, and its level if it is known."""
    with np.errstate(over="ignore"):
        cells = np.asarray(numbers, np.float32)
    low, high = float(cells.min()), float(cells.max())
    if math.isnan(low) or high == math.inf:
        n_wrong = int(np.isnan(cells).sum() + np.isposinf(cells).sum())
        raise InputError(f"{matrix.path}: {n_wrong} of {cells.size} numbers are NaN or infinite; mend what wrote them")
    matrix.refuse_one_level(low, high)
    if low == -math.inf:
        # The logarithm of 0.
        low = float(cells.min(initial=high, where=np.isfinite(cells)))
    values = matrix.options.values or _values_of(matrix.path, low, high)
    matrix.notes.found("values", values, None if matrix.options.values else 0.9, f"from {low:.4g} to {high:.4g}")
    matrix.notes.found("range_db", f"{-_FLOOR_DB:g} dB", None, "what is quieter is cut off")
    if values == "db":
        if not _POSSIBLE_DB[0] <= low <= high <= _POSSIBLE_DB[1]:
            raise InputError(
                f"{matrix.path}: numbers from {low:.4g} to {high:.4g} cannot be dB; say what they are: --values"
            )
        level_db = high
        relative_db = cells - np.float32(high)
    else:
        if low < 0:
            raise InputError(
                f"{matrix.path}: numbers from {low:.4g} to {high:.4g} are no {values}: some are negative; --values db?"
            )
        factor = 20 if values == "magnitude" else 10
        level_db = factor * math.log10(high)
        smallest = np.float32(10 ** (_FLOOR_DB / factor))
        relative_db = np.float32(factor) * np.log10(np.maximum(cells / np.float32(high), smallest))
    relative_db = np.maximum(relative_db, np.float32(_FLOOR_DB))
    if abs(level_db) < _IS_ZERO_DB:
        matrix.notes.found("level", "lost", None, "the loudest cell is at 0 dB: levels are relative to it")
        return relative_db, None
    matrix.notes.found("level", "known", 0.8, f"the loudest cell is at {level_db:.1f} dB")
    return relative_db, level_db


def _values_of(path: Path, low: float, high: float) -> Values:
    if low >= 0:
        raise InputError(
            f"{path}: numbers from {low:.4g} to {high:.4g} may be amplitudes, powers or levels; say which: --values "
            "magnitude, power or db"
        )
    if high - low < _MIN_SPAN_DB:
        raise InputError(
            f"{path}: numbers from {low:.4g} to {high:.4g} are unlikely levels in dB; multiply natural logarithms of "
            "amplitudes by 8.686, or say --values db"
        )
    return "db"


def _values_of_pixels(matrix: Matrix, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Values in [0, 1] of greys or colours, 0 for the quietest."""
    given = matrix.options.colormap
    if pixels.ndim == 2:
        if given not in (None, *WHITE_IS_LOUD, *WHITE_IS_QUIET):
            raise InputError(f"{matrix.path}: the picture is grey, not {given}; leave --colormap out, or gray, gray_r")
        name = given or "gray"
        values = pixels.astype(np.float32) / np.float32(255)
        confidence, how = 1.0, "grey"
    else:
        sample = pixels.reshape(-1, 3)
        sample = sample[:: max(1, len(sample) // _N_SAMPLES)]
        colormap = identify(sample, given, matrix.path)
        name, confidence = colormap.name, colormap.confidence or 0.0
        maps = (colormap, _cut_off(colormap))
        values, distances = min(maps, key=lambda one: one.codes(sample)[1].mean()).codes(pixels)
        distance = float(np.median(distances))
        how = f"colours are {distance:.1f} of 255 away (median)"
        if distance > _MAX_DISTANCE:
            matrix.notes.warnings.append(f"its colours are far from {name}: {distance:.0f} of 255 (median)")
    if given is not None:
        matrix.notes.found("colormap", name, None, f"given; {how}")
        return 1 - values if pixels.ndim == 2 and given in WHITE_IS_QUIET else values
    return as_loudness(values, name, confidence, how, matrix.notes, matrix.options.values in DECADE_DB)


def _cut_off(colormap: Colormap) -> Colormap:
    """The map as matplotlib's imsave has it, which cuts its colours off where the renderer of figures rounds them."""
    from matplotlib import colormaps

    colours = colormaps[colormap.name](np.arange(_N_COLOURS), bytes=True)[:, :3]
    return Colormap(colormap.name, colours.astype(np.float32))
