"""Where a frequency axis begins, from its tick marks."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from gan.sound.figure.box import find_box
from gan.sound.figure.pixels import Pixels, load_pixels, open_picture
from gan.sound.figure.ticks import lowest_tick


def draw(path: Path, bottom: float, ticks: np.ndarray | list[float], dpi: int = 100) -> tuple[Pixels, float]:
    """A spectrogram above an axis that begins at a height in pixels; also where 0 Hz is, in pixels from the top."""
    canvas = Canvas(figsize=(5, 4), dpi=dpi)
    FigureCanvasAgg(canvas)
    axes = canvas.add_axes((0.15, bottom / (4 * dpi), 0.8, 0.75))
    levels = np.random.default_rng(0).uniform(0, 1, (1025, 60)) * np.linspace(1, 0.2, 1025)[:, None]
    axes.pcolormesh(np.arange(61), np.linspace(0, 11025, 1026), levels, cmap="magma")
    axes.set_yticks(ticks)
    canvas.savefig(path)
    zero = 4 * dpi - axes.transData.transform((0, 0))[1]
    with open_picture(path) as image:
        return load_pixels(image, path), float(zero)


@pytest.mark.parametrize("bottom", [60.0, 60.2, 60.45, 60.55, 60.8])
@pytest.mark.parametrize("step", [500, 1000])
def test_a_third_of_a_pixel(tmp_path, bottom, step):
    pixels, zero = draw(tmp_path / "figure.png", bottom, np.arange(0, 11026, step))
    place = lowest_tick(pixels, find_box(pixels, tmp_path / "figure.png"))
    assert place == pytest.approx(zero, abs=0.34)


def test_better_than_the_frame_alone(tmp_path):
    by_ticks, by_frame = [], []
    for bottom in np.arange(60, 61, 0.1):
        pixels, zero = draw(tmp_path / "figure.png", bottom, np.arange(0, 11026, 1000))
        box = find_box(pixels, tmp_path / "figure.png")
        by_frame.append(box.edges[3] - zero)
        by_ticks.append(lowest_tick(pixels, box) - zero)
    assert np.std(by_ticks) < 0.5 * np.std(by_frame)
    assert np.std(by_ticks) < 0.12


@pytest.mark.parametrize(
    ("ticks", "why"),
    [
        ([], "no ticks"),
        ([0, 5000], "too few"),
        ([0, 1000, 5000, 9000], "not even"),
        ([3000, 6000, 9000], "the axis begins elsewhere"),
    ],
)
def test_ticks_that_say_nothing(tmp_path, ticks, why):
    pixels, _ = draw(tmp_path / "figure.png", 60.3, ticks)
    assert lowest_tick(pixels, find_box(pixels, tmp_path / "figure.png")) is None, why
