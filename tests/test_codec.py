"""Image files: what is written comes back, and what is no image of ours is named."""

import contextlib
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mutations import png_chunk
from PIL import Image, PngImagePlugin

from gan.errors import InputError, NotNow
from gan.sound.codec import (
    Origin,
    codes_from_magnitude,
    decode_image,
    encode_image,
    has_header,
    read_codes,
    read_header,
    read_whole_header,
)
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import open_picture
from gan.sound.figure.reader import read_figure
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import magnitude_from_waveform

both_bits = pytest.mark.parametrize("bits", [16, 8])
ORIGIN = Origin("../Записи/Dvořák, 交響曲.flac", 12.5, 6000, False)


def grid(**others: Any) -> SpectrogramSettings:
    return SpectrogramSettings(**{"n_fft": 256, "hop_length": 64, "win_length": 256, **others})


@pytest.fixture
def magnitude(sound: Callable[..., np.ndarray]) -> torch.Tensor:
    return magnitude_from_waveform(torch.from_numpy(sound(6000)), grid())


def db(magnitude: torch.Tensor) -> np.ndarray:
    return 20 * np.log10(magnitude.double().numpy())


def rewrite(
    path: Path, change: Callable[[Image.Image, dict[str, Any]], tuple[Image.Image, dict[str, Any] | None]]
) -> None:
    """Read an image with Pillow, change pixels or text, and save it as a careful image program would."""
    with Image.open(path) as image:
        image.load()
        changed, text = change(image, json.loads(image.info["spectrogram"]))
    info = PngImagePlugin.PngInfo()
    if text is not None:
        info.add_itxt("spectrogram", json.dumps(text))
    changed.save(path, "PNG", pnginfo=info)


@both_bits
@pytest.mark.parametrize("floor_db", [-120.0, -60.0, -35.5])
@pytest.mark.parametrize("gain", [1.0, 1e-6, 1e4])
def test_levels_come_back_to_half_a_step(
    tmp_path: Path, magnitude: torch.Tensor, bits: int, floor_db: float, gain: float
) -> None:
    settings = grid(bits=bits, floor_db=floor_db)
    encode_image(tmp_path / "image.png", magnitude * gain, settings)
    decoded, header = decode_image(tmp_path / "image.png")
    assert decoded.dtype == torch.float32
    step = -floor_db / (2**bits - 1)
    level_db = db(magnitude * gain)
    expected_db = np.maximum(level_db, level_db.max() + floor_db)
    assert np.abs(db(decoded) - expected_db).max() <= step / 2 + 2e-6  # float32's own rounding is 1e-6 dB
    assert header.level_db == pytest.approx(level_db.max(), abs=1e-9)


@both_bits
def test_a_decoded_image_is_encoded_to_the_same_pixels(tmp_path: Path, magnitude: torch.Tensor, bits: int) -> None:
    settings = grid(bits=bits)
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    encode_image(first, magnitude, settings, ORIGIN)
    decoded, header = decode_image(first)
    encode_image(second, decoded, header.settings, header.origin)
    codes, again = read_codes(first)[0], read_codes(second)[0]
    assert codes.dtype == again.dtype == (np.uint16 if bits == 16 else np.uint8)
    np.testing.assert_array_equal(codes, again)
    assert codes.max() == 2**bits - 1
    assert read_header(second).level_db == pytest.approx(header.level_db, abs=1e-6)


@both_bits
def test_codes_by_hand(bits: int) -> None:
    top = 2**bits - 1
    magnitude = torch.tensor([[1.0, 0.1], [1e-4, 1e-9], [10.0, 0.0]])
    codes, level_db = codes_from_magnitude(magnitude, grid(bits=bits, floor_db=-100.0))
    assert level_db == pytest.approx(20.0)
    assert codes.tolist() == [[round(0.8 * top), round(0.6 * top)], [0, 0], [top, 0]]


@pytest.mark.parametrize("origin", [None, ORIGIN, Origin("a.wav", 0.0, 6000, True)])
@pytest.mark.parametrize(
    "settings", [grid(), grid(bits=8, window="blackman", floor_db=-90.25, sample_rate=44100, win_length=200)]
)
def test_the_header_comes_back(
    tmp_path: Path, magnitude: torch.Tensor, settings: SpectrogramSettings, origin: Origin | None
) -> None:
    path = tmp_path / "ünï.png"
    written = encode_image(path, magnitude, settings, origin)
    assert read_header(path) == written == decode_image(path)[1]
    assert (written.settings, written.origin, written.n_frames) == (settings, origin, 94)
    assert written.n_samples == (93 * 64 if origin is None else 6000)


def test_it_is_an_ordinary_png_with_low_frequencies_at_the_bottom(tmp_path: Path) -> None:
    magnitude = torch.full((129, 20), 1e-3)
    magnitude[2, :] = 1.0
    magnitude[100, 5] = 0.1
    for bits, mode in ((16, "I;16"), (8, "L")):
        encode_image(tmp_path / "image.png", magnitude, grid(bits=bits))
        with Image.open(tmp_path / "image.png") as image:
            assert (image.format, image.mode, image.size) == ("PNG", mode, (20, 129))
            pixels = np.asarray(image)
        top = 2**bits - 1
        assert (pixels[128 - 2] == top).all()
        assert (np.delete(pixels, 128 - 2, axis=0) < top).all()
        assert pixels[128 - 100].argmax() == 5
        np.testing.assert_array_equal(read_codes(tmp_path / "image.png")[0], pixels[::-1])


@both_bits
def test_silence(tmp_path: Path, bits: int) -> None:
    encode_image(tmp_path / "image.png", torch.zeros(129, 20), grid(bits=bits))
    magnitude, header = decode_image(tmp_path / "image.png")
    assert header.level_db is None
    assert magnitude.shape == (129, 20)
    assert (magnitude == 0).all()


def test_pictures_that_are_not_ours_are_named(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(129 * 20, dtype=np.uint8).reshape(129, 20))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture " * 50)
    picture.save(tmp_path / "jpeg.png", "JPEG")
    picture.save(tmp_path / "photo.jpg")
    picture.save(tmp_path / "foreign.png")
    for name, message in {
        "empty.png": "not a PNG image",
        "text.png": "not a PNG image",
        "jpeg.png": "not a PNG image",
        "photo.jpg": "not a PNG image",
        "foreign.png": "no settings in it",
    }.items():
        for read in (read_header, read_codes, decode_image):
            with pytest.raises(InputError, match=message) as caught:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_damaged_images_are_named(tmp_path: Path, magnitude: torch.Tensor) -> None:
    path = tmp_path / "image.png"
    encode_image(path, magnitude, grid(), ORIGIN)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    for damaged in (flipped, *(content[: int(part * len(content))] for part in (0.001, 0.01, 0.05, 0.5, 0.95))):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"image\.png: (not a PNG|no settings|.* damaged)"):
            decode_image(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda image, text: (image.resize((94, 128)), text),
            "128 pixels high, but n_fft 256 makes 129; was it resized",
        ),
        (lambda image, text: (image.crop((0, 0, 90, 129)), text), "90 pixels wide, but its sound makes 94"),
        (lambda image, text: (image, None), "no settings in it"),
        (lambda image, text: (image.point(lambda code: code / 256).convert("L"), text), "uint8 pixels, uint16"),
        (lambda image, text: (image, {**text, "settings": {**text["settings"], "bits": 8}}), "uint16 pixels, uint8"),
        (
            lambda image, text: (image, {**text, "settings": {**text["settings"], "n_fft": 0}}),
            "cannot be read .n_fft is 0",
        ),
        (lambda image, text: (image, {**text, "settings": {"n_fft": 256}}), "cannot be read"),
        (lambda image, text: (image, {**text, "origin": {"recording": "a.wav"}}), "cannot be read"),
        (lambda image, text: (image, {**text, "origin": {**text["origin"], "n_samples": "x"}}), "cannot be read"),
        (lambda image, text: (image, {**text, "level_db": "loud"}), "cannot be read"),
        (lambda image, text: (image, {"settings": text["settings"]}), "cannot be read"),
        (lambda image, text: (image, [1, 2]), "cannot be read"),
        (lambda image, text: (image, {**text, "format": "\x1b[2J"}), r"format \\x1b\[2J of another version"),
        (lambda image, text: (image, {**text, "level_db": float("nan")}), "level_db is nan, a number or nothing was"),
        (lambda image, text: (image, {**text, "level_db": 1e9}), "cannot be read .level_db is 1e.09"),
        (lambda image, text: (image, {**text, "settings": {**text["settings"], "n_fft": True}}), "n_fft is True"),
        (lambda image, text: (image, {**text, "settings": {**text["settings"], "sample_rate": 2**80}}), "sample_rate"),
        (
            lambda image, text: (image, {**text, "settings": {**text["settings"], "bits": 16.0}}),
            "bits is 16.0, 8 or 16",
        ),
        (
            lambda image, text: (image, {**text, "origin": {**text["origin"], "start_second": -1}}),
            "second -1 are no part",
        ),
        (
            lambda image, text: (image, {**text, "origin": {**text["origin"], "recording": 3}}),
            "recording is 3, text was",
        ),
    ],
)
def test_changed_images_are_named(tmp_path: Path, magnitude: torch.Tensor, change: Any, message: str) -> None:
    path = tmp_path / "image.png"
    encode_image(path, magnitude, grid(), ORIGIN)
    rewrite(path, change)
    with pytest.raises(InputError, match=message) as caught:
        decode_image(path)
    assert str(path) in str(caught.value)


def test_a_failed_write_leaves_the_old_image(
    tmp_path: Path, magnitude: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.png"
    encode_image(path, magnitude, grid())
    before = path.read_bytes()

    def full(self: Image.Image, part: Path, *args: object, **others: object) -> None:
        part.write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        encode_image(path, 2 * magnitude, grid())
    assert path.read_bytes() == before
    with pytest.raises(OSError, match="No space left"):
        encode_image(tmp_path / "other.png", magnitude, grid())
    assert list(tmp_path.iterdir()) == [path]


@both_bits
def test_what_memory_is_lacking_for_is_not_called_damaged(
    tmp_path: Path, magnitude: torch.Tensor, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    encode_image(tmp_path / "a.png", magnitude, grid(bits=bits))

    def lacking(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lacking)
    n_freqs, n_frames = magnitude.shape
    for read in (decode_image, lambda path: read_figure(path, FigureOptions())):
        with pytest.raises(NotNow, match=rf"a\.png: {n_frames} x {n_freqs} (pixels|numbers) do not fit into"):
            read(tmp_path / "a.png")


@both_bits
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EIO, "Input/output error"), r"cannot be read \(Input/output error\)"),
        (OSError("image file is truncated"), r"the (image|picture) is damaged \(image file is truncated\)"),
        # Of a place before the file's beginning.
        (OSError(errno.EINVAL, "Invalid argument"), r"the (image|picture) is damaged \(.*Invalid argument\)"),
    ],
)
def test_a_disk_that_fails_is_not_called_damaged(
    tmp_path: Path,
    magnitude: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    bits: int,
    error: OSError,
    message: str,
) -> None:
    path = tmp_path / "a.png"
    encode_image(path, magnitude, grid(bits=bits))

    def failing(image: Image.Image) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", failing)
    for read in (decode_image, lambda path: read_figure(path, FigureOptions())):
        with pytest.raises(InputError, match=rf"a\.png: {message}") as caught:
            read(path)
        assert isinstance(caught.value, NotNow) == (error.errno == errno.EIO)


def test_a_disk_that_fails_in_the_header_is_not_called_no_png(
    tmp_path: Path, magnitude: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_image(tmp_path / "a.png", magnitude, grid())

    def failing(image: Image.Image) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "_open", failing)
    for read in (read_header, decode_image, open_picture):
        with pytest.raises(NotNow, match=r"a\.png: cannot be read \(Input/output error\)"):
            read(tmp_path / "a.png")


def test_text_that_is_nested_without_end_is_named(tmp_path: Path, magnitude: torch.Tensor) -> None:
    path = tmp_path / "image.png"
    encode_image(path, magnitude, grid(), ORIGIN)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("spectrogram", "[" * 100_000)
    with Image.open(path) as image:
        image.save(path, pnginfo=info)
    with pytest.raises(InputError, match=r"its settings cannot be read .maximum recursion depth"):
        decode_image(path)


def test_chunks_that_lead_pillow_astray_are_named(tmp_path: Path, magnitude: torch.Tensor) -> None:
    path = tmp_path / "image.png"
    encode_image(path, magnitude, grid(), ORIGIN)
    content = path.read_bytes()
    # iTXt without its language and translation, gAMA without its number: IndexError, struct.error.
    for name, data in ((b"iTXt", b"a\0\0\0"), (b"gAMA", b""), (b"acTL", b"\0"), (b"iCCP", b"a"), (b"tRNS", b"")):
        path.write_bytes(content[:33] + png_chunk(name, data) + content[33:])
        for read in (has_header, read_header, read_whole_header, decode_image):
            with contextlib.suppress(InputError):
                read(path)
