"""Pictures that are damaged, enormous or no spectrogram are refused with a reason; odd but whole ones are read."""

import contextlib
import errno
import io
import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from drawing import Levels, errors_db, full_bleed, levels, tutorial
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from mutations import mutated, png_chunk, read_damaged, seeds
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gan.errors import InputError, NotNow
from gan.sound.figure.figure import Figure
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import peak_bytes, read_figure

# The place of height and width in a JPEG's frame header, after its marker, its length and its precision.
_SOF0 = b"\xff\xc0"
_ORIENTATION = 0x0112
_UNDOES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def level_db() -> Levels:
    """What is drawn."""
    return levels(128, 80)


@pytest.fixture(scope="module")
def grey(level_db, tmp_path_factory) -> Image.Image:
    """A grey spectrogram of 240 x 260 pixels, mode RGB."""
    path = tmp_path_factory.mktemp("pictures") / "grey.png"
    full_bleed(path, level_db, (240, 260))
    with Image.open(path) as image:
        return image.convert("RGB")


@pytest.fixture(scope="module")
def colour(level_db, tmp_path_factory) -> Image.Image:
    """The same in viridis."""
    path = tmp_path_factory.mktemp("pictures") / "colour.png"
    full_bleed(path, level_db, (240, 260), cmap="viridis")
    with Image.open(path) as image:
        return image.convert("RGB")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(path: Path, **options: object) -> Figure:
    return read_figure(path, FigureOptions(**options))


def refused(path: Path, content: bytes | None, message: str, **options: object) -> None:
    """A file is refused with a line that names it, before and while it is read."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {message}") as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def with_png_size(png: bytes, width: int, height: int) -> bytes:
    """A PNG whose header claims another size, with the right checksum."""
    return png[:8] + png_chunk(b"IHDR", struct.pack(">II", width, height) + png[24:29]) + png[33:]


def with_jpeg_size(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    position = jpeg.index(_SOF0) + 5
    return jpeg[:position] + struct.pack(">HH", height, width) + jpeg[position + 4 :]


class TestNoPicture:
    def test_nothing_at_all(self, tmp_path):
        refused(tmp_path / "a.png", b"", "the file is empty; make or copy it again")
        refused(tmp_path / "missing.png", None, r"cannot be opened \(No such file or directory\)")
        (tmp_path / "folder.png").mkdir()
        refused(tmp_path / "folder.png", None, r"cannot be opened \(Is a directory\)")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path):
        (tmp_path / "a.png").touch(mode=0o000)
        refused(tmp_path / "a.png", None, r"cannot be opened \(Permission denied\)")

    def test_what_cannot_be_opened_may_be_another_time(self, tmp_path, monkeypatch, grey):
        paths = [tmp_path / "a.png", tmp_path / "a.npy"]
        grey.save(paths[0])
        np.save(paths[1], np.zeros((4, 4)))

        def failing(*_):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(Path, "open", failing)
        monkeypatch.setattr(np.lib.format, "open_memmap", lambda path, mode: failing())
        for path in paths:
            with pytest.raises(NotNow, match=rf"{path.name}: cannot be opened \(Too many open files\)"):
                read(path)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
    def test_what_is_cut_off_stays_so(self, tmp_path, colour, kind):
        content = encoded(colour, kind)
        for length in (20, len(content) // 3, len(content) * 2 // 3):
            (tmp_path / "a.png").write_bytes(content[:length])
            with pytest.raises(InputError, match="damaged") as caught:
                read(tmp_path / "a.png")
            assert not isinstance(caught.value, NotNow)

    @pytest.mark.parametrize(
        "content", [b"Dear diary\n" * 20, b"<svg></svg>", b"%PDF-1.4", b"\0" * 500, b"\xff", b"P5 1 1"]
    )
    @pytest.mark.parametrize("suffix", ["jpg", "png"])
    def test_something_else(self, tmp_path, content, suffix):
        path = tmp_path / f"a.{suffix}"
        refused(path, content, r"not a picture \(JPEG, PNG, TIFF, WebP, BMP or GIF were expected\), it begins with b")
        with pytest.raises(InputError, match="not a picture"):
            peak_bytes(path)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
    @pytest.mark.parametrize("size", [(1, 1), (9, 300), (300, 9)])
    def test_too_small(self, tmp_path, kind, size):
        refused(
            tmp_path / "a.png",
            encoded(Image.new("L", size), kind),
            f"{size[0]} x {size[1]} pixels are too few to hold a spectrogram",
        )

    @pytest.mark.parametrize("shade", ["black", "white", "red"])
    def test_one_colour(self, tmp_path, shade):
        refused(
            tmp_path / "a.png",
            encoded(Image.new("RGB", (300, 300), shade), "PNG"),
            "nothing but one colour; there is no spectrogram in it",
        )


class TestDamaged:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("JPEG", {"quality": 90}),
            ("JPEG", {"quality": 90, "progressive": True}),
            ("PNG", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_deflate"}),
            ("WEBP", {"lossless": True}),
            ("BMP", {}),
            ("GIF", {}),
        ],
        ids=lambda value: value if isinstance(value, str) else "-".join(value) or "plain",
    )
    def test_cut_off(self, tmp_path, grey, kind, options, share):
        whole = encoded(grey, kind, **options)
        if kind == "PNG" and share == 0.99:
            share = 0.98  # What lacks is then not only the last chunk, which holds nothing.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            refused(
                tmp_path / "a.jpg", whole[: int(share * len(whole))], r"the picture is damaged \(.+\); make it again"
            )

    def test_cut_off_within_the_header(self, tmp_path, grey):
        for length in (2, 10, 20):
            refused(tmp_path / "a.jpg", encoded(grey, "JPEG")[:length], "the picture is damaged")
        for length in (8, 10, 20, 40):
            refused(tmp_path / "a.png", encoded(grey, "PNG")[:length], "the picture is damaged")

    def test_bits_flipped_in_a_png(self, tmp_path, grey):
        content = bytearray(encoded(grey, "PNG"))
        content[len(content) // 2] ^= 4
        refused(tmp_path / "a.png", bytes(content), "the picture is damaged")

    def test_bits_flipped_in_a_jpeg_never_break_anything(self, tmp_path, grey):
        # A decoder does not notice most of them.
        content = encoded(grey, "JPEG", quality=90)
        draw = np.random.default_rng(0)
        for _ in range(30):
            damaged = bytearray(content)
            damaged[draw.integers(600, len(content))] ^= 1 << int(draw.integers(8))
            (tmp_path / "a.jpg").write_bytes(damaged)
            with contextlib.suppress(InputError):
                assert np.isfinite(read(tmp_path / "a.jpg").relative_db).all()

    def test_claims_to_be_enormous(self, tmp_path, grey):
        png, jpeg = encoded(grey, "PNG"), encoded(grey, "JPEG")
        for size in ((100_000, 100_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)):
            refused(
                tmp_path / "a.png",
                with_png_size(png, *size),
                rf"claims {size[0]} x {size[1]} pixels, at most 1e\+09 are read; draw it smaller",
            )
        refused(tmp_path / "a.jpg", with_jpeg_size(jpeg, 60_000, 60_000), "claims 60000 x 60000 pixels, at most 1e")
        damaged = rf"claims 20000 x 20000 pixels in {len(png)} bytes, which cannot be; it is damaged"
        refused(tmp_path / "a.png", with_png_size(png, 20_000, 20_000), damaged)
        refused(tmp_path / "a.jpg", with_jpeg_size(jpeg, 20_000, 20_000), "claims 20000 x 20000 pixels in .* cannot be")
        with pytest.raises(InputError, match="which cannot be"):
            peak_bytes(tmp_path / "a.png")

    @pytest.mark.parametrize("size", [(0, 0), (0, 5)])
    def test_claims_to_be_nothing(self, tmp_path, grey, size):
        for path, content in (
            (tmp_path / "a.png", with_png_size(encoded(grey, "PNG"), *size)),
            (tmp_path / "a.jpg", with_jpeg_size(encoded(grey, "JPEG"), *size)),
        ):
            refused(path, content, "(the picture is damaged|0 x . pixels are too few)")

    def test_a_text_that_unpacks_to_very_much(self, tmp_path, grey):
        png = encoded(grey, "PNG")
        bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 200_000_000))
        refused(tmp_path / "a.png", png[:33] + bomb + png[33:], "the picture is damaged")

    def test_files_are_closed(self, tmp_path, grey):
        # A file left open is a ResourceWarning, and an error here.
        for index, content in enumerate(
            (encoded(grey, "PNG")[:500], encoded(grey, "JPEG")[:500], encoded(grey, "PNG"))
        ):
            path = tmp_path / f"{index}.png"
            path.write_bytes(content)
            before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
            for _ in range(3):
                with contextlib.suppress(InputError):
                    read(path)
            after = len(list(Path("/proc/self/fd").iterdir())) if before else 0
            assert after <= before


class TestOddButWhole:
    """Pictures that other programs saved: the colours survive, and so does the spectrogram."""

    @pytest.mark.parametrize(
        ("change", "kind", "options", "rms_db"),
        [
            (lambda image: image.convert("CMYK"), "JPEG", {"quality": 100, "subsampling": 0}, 0.6),
            (lambda image: image.convert("CMYK"), "TIFF", {}, 0.1),
            (lambda image: image.quantize(256), "PNG", {}, 0.1),
            (lambda image: image.quantize(256), "GIF", {}, 0.1),
            (lambda image: image.quantize(255), "PNG", {"transparency": 255}, 0.1),
            (lambda image: image.convert("RGBA"), "PNG", {}, 0.1),
            (lambda image: image.convert("RGBA"), "WEBP", {"lossless": True}, 0.1),
            (lambda image: image, "TIFF", {"compression": "tiff_lzw"}, 0.1),
            (lambda image: image, "JPEG", {"quality": 95, "progressive": True}, 2.5),
            (lambda image: image, "BMP", {}, 0.1),
        ],
        ids=["cmyk-jpeg", "cmyk-tiff", "palette", "gif", "palette-alpha", "rgba", "webp", "lzw", "progressive", "bmp"],
    )
    @pytest.mark.parametrize("name", ["grey", "colour"])
    def test_kinds_of_pixels(self, tmp_path, request, level_db, name, change, kind, options, rms_db):
        path = tmp_path / "a.png"
        path.write_bytes(encoded(change(request.getfixturevalue(name)), kind, **options))
        figure = read(path)
        assert figure.relative_db.shape == level_db.shape
        assert errors_db(figure.relative_db, level_db)[0] < rms_db

    def test_grey_with_alpha(self, tmp_path, grey, level_db):
        (tmp_path / "a.png").write_bytes(encoded(grey.convert("LA"), "PNG"))
        assert errors_db(read(tmp_path / "a.png").relative_db, level_db)[0] < 0.1

    def test_16_bits_a_channel(self, tmp_path, grey, level_db):
        rows = np.asarray(grey).astype(">u2") * np.uint16(257)
        lines = b"".join(b"\0" + row.tobytes() for row in rows.astype(">u2"))
        header = struct.pack(">IIBBBBB", grey.width, grey.height, 16, 2, 0, 0, 0)
        (tmp_path / "a.png").write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + png_chunk(b"IHDR", header)
            + png_chunk(b"IDAT", zlib.compress(lines))
            + png_chunk(b"IEND", b"")
        )
        assert errors_db(read(tmp_path / "a.png").relative_db, level_db)[0] < 0.1

    def test_16_bits_of_grey_are_numbers_and_not_a_drawing(self, tmp_path, grey):
        pixels = np.asarray(grey.convert("L")).astype(np.uint16) * np.uint16(257)
        refused(
            tmp_path / "a.png", encoded(Image.fromarray(pixels), "PNG"), r"260 rows are not the 2\*\*k \+ 1 of an STFT"
        )

    @pytest.mark.parametrize("orientation", list(_UNDOES))
    def test_turned_by_its_exif(self, tmp_path, grey, level_db, orientation):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        turned = grey.transpose(_UNDOES[orientation])
        for kind, options in (("JPEG", {"quality": 100}), ("PNG", {})):
            (tmp_path / "a.png").write_bytes(encoded(turned, kind, exif=exif, **options))
            figure = read(tmp_path / "a.png")
            assert figure.relative_db.shape == level_db.shape
            assert errors_db(figure.relative_db, level_db)[0] < 0.2

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_several_pictures(self, tmp_path, grey, kind):
        other = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        content = encoded(grey, kind, save_all=True, append_images=[other, grey])
        refused(tmp_path / "a.png", content, "holds 3 pictures; save the one that is meant by itself")

    def test_pixels_that_cannot_be_drawn(self, tmp_path):
        image = Image.new("LAB", (100, 100))
        refused(
            tmp_path / "a.tif", encoded(image, "TIFF"), "pixels of kind 'LAB', grey or RGB were expected; save it as"
        )

    def test_black_and_white(self, tmp_path, grey):
        refused(tmp_path / "a.png", encoded(grey.convert("1"), "PNG"), "nothing in it repeats as the cells")


def fields(rng: np.random.Generator, size: int = 400) -> NDArray[np.float64]:
    """Something like a photograph, shape (size, size), 0 to 1: soft light, soft shapes, and fur."""
    light = ndimage.gaussian_filter(rng.standard_normal((size, size)), 60)
    shapes = ndimage.gaussian_filter(rng.standard_normal((size, size)), 15) > 0.01
    fur = ndimage.gaussian_filter(rng.standard_normal((size, size)), (4, 0.7))
    cat = light / light.std() + ndimage.gaussian_filter(shapes.astype(float), 2) + 0.5 * fur / fur.std()
    return (cat - cat.min()) / np.ptp(cat)


class TestNoSpectrogram:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(
        ("size", "kind", "options"),
        # 50, 65 and 129 of JPEG's blocks of 8 pixels, which repeat like cells.
        [(400, "PNG", {}), (400, "JPEG", {}), (520, "JPEG", {"quality": 30}), (1032, "JPEG", {})],
    )
    def test_a_grey_cat(self, tmp_path, seed, size, kind, options):
        cat = Image.fromarray(np.rint(255 * fields(np.random.default_rng(seed), size)).astype(np.uint8))
        refused(
            tmp_path / "cat.jpg",
            encoded(cat, kind, **options),
            "nothing in it repeats as the cells of a spectrogram do, and greys are anybody's; .* --n_fft and --seconds",
        )

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    def test_a_cat_in_colour(self, tmp_path, seed, kind):
        rng = np.random.default_rng(seed)
        fur = fields(rng)[..., None] * (250, 90, 20) + fields(rng)[..., None] * (0, 90, 160)
        cat = Image.fromarray(np.clip(fur, 0, 255).astype(np.uint8))
        refused(
            tmp_path / "cat.jpg",
            encoded(cat, kind),
            "nothing in it repeats as the cells of a spectrogram do, and its colours are of no known colour map; ",
        )

    def test_a_plot_of_lines(self, tmp_path):
        def only_a_line(figure, axes):
            axes.clear()
            axes.plot(np.sin(np.arange(500) / 20))

        tutorial(tmp_path / "a.png", levels(64, 30), bar=False, change=only_a_line)
        with pytest.raises(InputError, match=r"a.png: "):
            read(tmp_path / "a.png")

    def test_a_map_we_do_not_know(self, tmp_path, level_db):
        tutorial(
            tmp_path / "a.png", level_db, cmap=ListedColormap(colormaps["cubehelix"](np.arange(256))[:, [1, 0, 2]])
        )
        refused(
            tmp_path / "a.png",
            None,
            r"its colours are of no known colour map; \w+ is the closest with a median distance of [1-9]\d of 255",
        )
        tutorial(tmp_path / "a.png", level_db, cmap="hot")
        assert errors_db(read(tmp_path / "a.png").relative_db, level_db)[0] < 0.1


@pytest.mark.filterwarnings("ignore")
class TestFuzz:
    def test_mutations_are_what_they_say(self, tmp_path):
        for name, content in seeds(tmp_path).items():
            (tmp_path / name).write_bytes(content)
            assert read(tmp_path / name).relative_db.shape == (33, 50), name

    def test_a_hundred(self, tmp_path):
        result = read_damaged(tmp_path, 100, seed=0)
        assert result["wrong"] == []
        assert result["read"] + result["refused"] == 100
        assert min(result["read"], result["refused"]) > 10
        assert result["seconds"] < 20

    @pytest.mark.slow
    def test_a_thousand_within_bounds(self, tmp_path):
        def bound() -> None:
            # Of what is allocated: the libraries of some builds of torch alone are mapped to 4 GB.
            resource.setrlimit(resource.RLIMIT_DATA, (1_500_000_000, 1_500_000_000))

        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / "mutations.py"), str(tmp_path), "1000", "1"],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"},
            preexec_fn=bound,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["wrong"] == []
        assert result["read"] + result["refused"] == 1000
        assert result["seconds"] < 20

    def test_warnings_do_not_flood(self, tmp_path):
        # Python shows a warning once a place and text; those of damaged TIFFs have few.
        draw, contents = random.Random(2), seeds(tmp_path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for index in range(60):
                name = ("lzw.tif", "raw.tif", "baseline.jpg")[index % 3]
                (tmp_path / name).write_bytes(mutated(draw, contents[name]))
                with contextlib.suppress(InputError):
                    read(tmp_path / name)
            shown = {(str(warning.message), warning.lineno) for warning in caught}
        assert len(shown) < 20
