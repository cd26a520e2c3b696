"""What libraries print of damaged files is not what a command says."""

import io
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from drawing import full_bleed, levels
from PIL import Image, TiffImagePlugin

from gan.commands.main import main
from gan.commands.quiet import quiet
from gan.errors import InputError

ROOT = str(Path(__file__).parent.parent)


def lzw(folder: Path) -> bytes:
    """A TIFF that libtiff decodes."""
    full_bleed(folder / "a.png", levels(64, 50), (150, 132))
    file = io.BytesIO()
    with Image.open(folder / "a.png") as image:
        image.convert("RGB").save(file, "TIFF", compression="tiff_lzw")
    return file.getvalue()


def test_a_command_says_what_is_wrong_and_nobody_else(tmp_path, capfd):
    content = bytearray(lzw(tmp_path))
    content[30:300] = b"\xff" * 270
    path = tmp_path / "damaged.tif"
    path.write_bytes(content)
    with pytest.raises(OSError, match="decoder error"), Image.open(path) as image:
        image.load()
    assert capfd.readouterr().err  # libtiff has its say
    for verb in ("info", "decode"):
        assert main([verb, str(path)]) in (1, 2)
        said = capfd.readouterr().err
        assert "damaged.tif: the picture is damaged" in said
        assert "tempfile.tif" not in said
        assert "LZWDecode" not in said
    done = subprocess.run(
        [sys.executable, "-m", "gan", "info", path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gan info: ")


def test_stderr_is_as_before_and_own_words_are_heard(capfd):
    own = sys.stderr
    with quiet():
        os.write(2, b"from C\n")
        warnings.warn_explicit("from Pillow", UserWarning, "TiffImagePlugin.py", 1, module=TiffImagePlugin.__name__)
        logging.getLogger("PIL.TiffImagePlugin").error("from Pillow, too")
        print("from us", file=sys.stderr)
    assert sys.stderr is own
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "from us\nafterwards\n"


def murmur_and_raise(error: BaseException) -> None:
    with quiet():
        os.write(2, b"from C\n")
        raise error


@pytest.mark.parametrize("error", [InputError("x"), KeyboardInterrupt(), SystemExit(2)])
def test_what_is_expected_hides_it(error, capfd):
    with pytest.raises(type(error)):
        murmur_and_raise(error)
    assert capfd.readouterr().err == ""


def test_what_is_not_expected_shows_it(capfd):
    with pytest.raises(ZeroDivisionError):
        murmur_and_raise(ZeroDivisionError())
    assert capfd.readouterr().err == "from C\n"
