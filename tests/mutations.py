"""Small pictures and ways to damage them.

`python tests/mutations.py FOLDER N SEED` reads N damaged ones and prints, as JSON, what became of them; the folder is
for its files.
"""

import io
import json
import random
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from drawing import full_bleed, levels, tutorial
from PIL import Image

from gan.errors import InputError
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import peak_bytes, read_figure

_ORIENTATION = 0x0112
# What lengths and sizes in headers are overwritten with.
_SIZES = (0, 1, 65_535, 100_000, 1 << 20, (1 << 31) - 1, (1 << 32) - 1)
_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"tRNS", b"PLTE", b"IDAT", b"gAMA")

# What values and keys of plain data are replaced with.
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 0.5, -0.0, 1e308, 1 << 62, 1 << 80, float("nan"), float("inf"), "", "a", "\0", "1",
    "1e9", "../../etc/passwd", "/dev/zero", "https://example.org/x", "<script>", "a\nb", "\x1b[2J", "\u20ac" * 40, [],
    {}, [[]], [None], [1, 2], {"a": 1}, [[1] * 50] * 50,
)  # fmt: skip
_NAMES = ("", "a", "class_path", "init_args", "__class__", "format", "\0", "../x", "x" * 300)
_TEXTS = (
    "", "null", "3", '"a"', "[]", "{}", "[1]", "\0", "\ufeff", "NaN", "[" * 100_000, "{" * 5000, "9" * 5000,
    '{"a": ' * 5000, "a: &a [b]\nc: [*a, *a]", "!!python/object/apply:os.system [exit 3]", "- a\nb: c", "\t", "a: \x07",
)  # fmt: skip


def seeds(folder: Path) -> dict[str, bytes]:
    """Readable pictures of 33 rows and 50 frames in every kind of file, by name."""
    level_db = levels(64, 50)
    full_bleed(folder / "grey.png", level_db, (150, 132))
    full_bleed(folder / "colour.png", level_db, (150, 132), cmap="viridis")
    tutorial(folder / "axes.png", level_db, (3, 3), cmap="gray")
    with Image.open(folder / "grey.png") as image:
        grey = image.convert("L")
    with Image.open(folder / "colour.png") as image:
        colour = image.convert("RGB")
    exif = Image.Exif()
    exif[_ORIENTATION] = 1
    numbers = io.BytesIO()
    np.save(numbers, level_db.astype(np.float32))
    steps = np.asarray(grey.resize((50, 33), Image.Resampling.NEAREST))

    def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return {
        "baseline.jpg": encoded(grey.convert("RGB"), "JPEG", quality=90, exif=exif),
        "progressive.jpg": encoded(grey, "JPEG", quality=80, progressive=True),
        "grey.png": encoded(grey, "PNG"),
        "rgb.png": encoded(colour, "PNG"),
        "rgba.png": encoded(grey.convert("RGBA"), "PNG"),
        "palette.png": encoded(grey.convert("RGB").quantize(64), "PNG"),
        "16bit.png": encoded(Image.fromarray(steps.astype(np.uint16) * 257), "PNG"),
        "axes.png": (folder / "axes.png").read_bytes(),
        "lzw.tif": encoded(grey.convert("RGB"), "TIFF", compression="tiff_lzw"),
        "raw.tif": encoded(grey, "TIFF"),
        "float.tif": encoded(Image.fromarray(level_db[::-1].astype(np.float32)), "TIFF"),
        "lossy.webp": encoded(grey.convert("RGB"), "WEBP", quality=80),
        "lossless.webp": encoded(grey, "WEBP", lossless=True),
        "rgb.bmp": encoded(grey.convert("RGB"), "BMP"),
        "palette.gif": encoded(grey, "GIF"),
        "float.npy": numbers.getvalue(),
    }


def mutated(draw: random.Random, content: bytes) -> bytes:
    """A damaged file: bits flipped, bytes overwritten, moved, doubled or lost, its end cut off, sizes changed."""
    if content.startswith(b"\x89PNG") and draw.random() < 0.4:
        return _with_other_chunks(draw, content)
    damaged = bytearray(content)
    kind = draw.randrange(8)
    for _ in range(draw.choice((1, 1, 2, 5))):
        if not damaged:
            break
        # Headers are where damage does most.
        at = draw.randrange(min(len(damaged), draw.choice((64, 300, len(damaged)))))
        length = draw.randrange(1, 64)
        other = draw.randrange(len(damaged))
        if kind == 0:
            damaged[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            damaged[at : at + length] = draw.randbytes(min(length, len(damaged) - at))
        elif kind == 2:
            damaged[at : at + length] = draw.choice((b"\0", b"\xff")) * min(length, len(damaged) - at)
        elif kind == 3:
            del damaged[other:]
        elif kind == 4:
            del damaged[at : at + length]
        elif kind == 5:
            damaged[at:at] = damaged[other : other + length]
        elif kind == 6:
            damaged[at], damaged[other] = damaged[other], damaged[at]
        else:
            size = struct.pack(draw.choice("<>") + "I", draw.choice(_SIZES))
            damaged[at : at + 4] = size[: len(damaged) - at]
    return bytes(damaged)


def _with_other_chunks(draw: random.Random, png: bytes) -> bytes:
    """A PNG whose chunks were changed, swapped, doubled, lost or made up, with the right checksums."""
    chunks = []
    position = 8
    while position + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, position)
        chunks.append((png[position + 4 : position + 8], png[position + 8 : position + 8 + length]))
        position += 12 + length
    one, other, kind = draw.randrange(len(chunks)), draw.randrange(len(chunks)), draw.randrange(5)
    name, content = chunks[one]
    if kind == 0:
        chunks[one], chunks[other] = chunks[other], chunks[one]
    elif kind == 1:
        del chunks[one]
    elif kind == 2:
        chunks.insert(other, chunks[one])
    elif kind == 3 and content:
        at = draw.randrange(len(content))
        chunks[one] = (name, content[:at] + draw.randbytes(1) + content[at + 1 :])
    else:
        chunks.insert(other, (draw.choice(_CHUNKS), draw.randbytes(draw.randrange(60))))
    return png[:8] + b"".join(png_chunk(name, content) for name, content in chunks)


def with_header(draw: random.Random, png: bytes, name: bytes, key: bytes) -> bytes:
    """A PNG whose first chunk of a name, JSON behind a key, says something else, with the right checksum."""
    start = png.index(name + key) - 4
    (length,) = struct.unpack_from(">I", png, start)
    text = png[start + 8 + len(key) : start + 8 + length].decode()
    chunk = png_chunk(name, key + changed_text(draw, text, json.loads, json.dumps).encode())
    return png[:start] + chunk + png[start + 12 + length :]


def changed(draw: random.Random, content: Any) -> Any:
    """Plain data in which one value or key, at any depth, was replaced, lost or added."""
    if isinstance(content, dict | list) and content and draw.random() < 0.85:
        copy = dict(content) if isinstance(content, dict) else list(content)
        key = draw.choice(list(copy)) if isinstance(copy, dict) else draw.randrange(len(copy))
        kind = draw.randrange(10)
        if kind == 0:
            del copy[key]
        elif kind == 1 and isinstance(copy, dict):
            copy[draw.choice(_NAMES)] = copy[key]
        elif kind == 1:
            copy.append(copy[key])
        else:
            copy[key] = changed(draw, copy[key])
        return copy
    if isinstance(content, int | float) and not isinstance(content, bool) and draw.random() < 0.5:
        return draw.choice((-content, content + 1, content * 2, content / 3, float(content), str(content)))
    # null is what parsers let through.
    return None if draw.random() < 0.1 else draw.choice(_VALUES)


def changed_text(draw: random.Random, text: str, load: Callable[[str], Any], dump: Callable[[Any], str]) -> str:
    """The same for data in a text; sometimes the text itself is damaged, or something else."""
    kind = draw.random()
    if kind < 0.1:
        return draw.choice(_TEXTS)
    try:
        content = load(text)
    except ValueError:
        kind = 0.1
    if kind < 0.25:
        return mutated(draw, text.encode()).decode(errors="replace")
    for _ in range(draw.choice((1, 1, 1, 3))):
        content = changed(draw, content)
    return dump(content)


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def read_damaged(folder: Path, n_pictures: int, seed: int) -> dict[str, Any]:
    """Read damaged pictures.

    Returns:
        How many were read ("read") and refused ("refused"), what must not be ("wrong": other errors, levels that are
        not numbers, messages that do not name the file), and the slowest one ("slowest") in seconds of computing
        ("seconds").
    """
    draw = random.Random(seed)
    contents = seeds(folder)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    slowest = (0.0, "")
    for index in range(n_pictures):
        name = list(contents)[index % len(contents)]
        path = folder / f"damaged-{name}"
        path.write_bytes(mutated(draw, contents[name]))
        started = time.process_time()
        try:
            peak_bytes(path)
            # Options make the reader go further where it finds little.
            figure = read_figure(path, FigureOptions(n_fft=64, seconds=0.1) if index % 2 else FigureOptions())
            codes, _ = figure.codes()
            counts["read"] += 1
            if not np.isfinite(figure.relative_db).all() or codes.size == 0:
                wrong.append(f"{index} {name}: levels that are no numbers")
        except InputError as error:
            counts["refused"] += 1
            message = str(error)
            if not message.startswith(f"{path}: ") or "\n" in message:
                wrong.append(f"{index} {name}: not the file's name and one line: {message!r}")
        except Exception as error:  # All of them are collected, not only the first.
            wrong.append(f"{index} {name}: {type(error).__name__}: {error}")
        slowest = max(slowest, (time.process_time() - started, f"{index} {name}"))
    return {**counts, "wrong": wrong, "seconds": slowest[0], "slowest": slowest[1]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(read_damaged(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
