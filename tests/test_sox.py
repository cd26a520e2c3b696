"""Pictures as SoX draws them: `sox song.wav -n spectrogram`."""

from pathlib import Path

import numpy as np
import pytest
from drawing import levels
from PIL import Image

from gan.errors import InputError
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import read_figure
from gan.sound.figure.sox_palette import NAMES, palette

LEFT, TOP, RIGHT, BOTTOM = 58, 30, 86, 48
# Levels in dB below full scale, as if nothing were below the range.
LEVEL_DB = levels(256, 300) * 1.4 - 3
HOP_LENGTH = 64


def draw(path: Path, colours: np.ndarray, raw: bool = False, light: bool = False) -> None:
    """Cells of a pixel, and around them a page with a frame, as SoX 14.4.2 lays it out."""
    codes = np.floor((LEVEL_DB / 120 + 1) * 249).clip(0, 248).astype(int)
    cells = colours[::-1][codes] if light else colours[codes]
    if not raw:
        height, width = codes.shape
        shape = (height + TOP + BOTTOM, width + LEFT + RIGHT, 3)
        page = np.full(shape, (221, 216, 208) if light else (0, 0, 0), np.float32)
        page[TOP - 1 : TOP + height + 1, LEFT - 1 : LEFT + width + 1] = 63 if light else 191
        page[TOP : TOP + height, LEFT : LEFT + width] = cells[::-1]
        cells = page[::-1]
    Image.fromarray(cells[::-1].astype(np.uint8)).save(path)


def test_colours():
    # Of the palettes in files that SoX 14.4.2 wrote.
    assert palette("sox")[[0, 1, 2, 248]].tolist() == [[0, 0, 3], [0, 0, 5], [0, 0, 8], [255, 255, 250]]
    assert palette("sox_p3")[248].tolist() == [250, 255, 255]
    assert palette("gray")[[0, 50, 248]].tolist() == [[1] * 3, [52] * 3, [254] * 3]
    assert len({palette(name).tobytes() for name in NAMES}) == 18
    assert palette("sox_hm")[[0, 149, 248]].tolist() == [[1, 0, 0], [153, 85, 85], [254, 253, 253]]


@pytest.mark.parametrize("name", ["sox", "sox_p3", "sox_h_p5", "sox_hm", "sox_hm_p4", "gray"])
@pytest.mark.parametrize("raw", [False, True])
def test_cells_of_one_pixel_are_read(tmp_path, name, raw):
    draw(tmp_path / "a.png", palette(name), raw)
    figure = read_figure(tmp_path / "a.png", FigureOptions(hop_length=HOP_LENGTH))
    # Some neighbours of -h have the same color.
    assert np.abs(figure.relative_db - LEVEL_DB).max() <= 120 / 249 * (2.5 if "_h" in name else 1)
    assert (figure.settings.n_fft, figure.settings.hop_length) == (256, HOP_LENGTH)
    found = {finding.name: finding.value for finding in figure.findings}
    assert found["colormap"] == name
    assert found["range_db"] == "120 dB"


def test_a_light_page_has_its_colours_the_other_way_round(tmp_path):
    draw(tmp_path / "a.png", palette("sox"), light=True)
    figure = read_figure(tmp_path / "a.png", FigureOptions(hop_length=HOP_LENGTH))
    assert np.abs(figure.relative_db - LEVEL_DB).max() <= 120 / 249
    assert {finding.name: finding.value for finding in figure.findings}["colormap"] == "sox_r"


def test_length_is_asked_for_and_sets_the_hop(tmp_path):
    draw(tmp_path / "a.png", palette("sox"))
    with pytest.raises(InputError, match=r"a.png: SoX fits .* into its 300 columns; give the length with --seconds"):
        read_figure(tmp_path / "a.png", FigureOptions())
    figure = read_figure(tmp_path / "a.png", FigureOptions(seconds=300 * HOP_LENGTH / 22050))
    assert figure.settings.hop_length == HOP_LENGTH
    assert figure.warnings == ()


def test_range_is_an_option(tmp_path):
    draw(tmp_path / "a.png", palette("sox"))
    figure = read_figure(tmp_path / "a.png", FigureOptions(hop_length=HOP_LENGTH, range_db=90))
    assert np.abs(figure.relative_db - LEVEL_DB * 90 / 120).max() <= 120 / 249


def test_columns_that_lie_too_far_apart(tmp_path):
    draw(tmp_path / "a.png", palette("sox"))
    with pytest.raises(InputError, match=r"a.png: its columns are 129 .* windows of 256 .*; draw 173 columns a second"):
        read_figure(tmp_path / "a.png", FigureOptions(hop_length=129))
