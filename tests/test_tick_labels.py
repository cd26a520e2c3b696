"""Numbers beside the axes of drawn spectrograms, and the limits of the axes that follow from them."""

import time
from collections.abc import Callable
from pathlib import Path

import librosa.display
import matplotlib
import matplotlib.style
import numpy as np
import pytest
from drawing import levels, mel_levels, tutorial
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gan.sound.figure.axis_scale import fit_axis, read_axis_scale
from gan.sound.figure.box import Box, find_box, given_box
from gan.sound.figure.pixels import Pixels, load_pixels, open_picture
from gan.sound.figure.tick_labels import find_labels, read_tick_labels


def draw(
    path: Path,
    x: tuple[float, float] = (0.0, 3.0),
    y: tuple[float, float] = (0.0, 11025.0),
    change: Callable[[Axes], object] | None = None,
    dpi: int = 100,
    style: str = "default",
    transparent: bool = False,
    quality: int = 95,
) -> tuple[Pixels, Box]:
    """A spectrogram of noise between limits of time and frequency, with labels, a title and a colour bar."""
    with matplotlib.style.context(style), matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        canvas = Figure(figsize=(6, 4.5), dpi=dpi)
        FigureCanvasAgg(canvas)
        axes = canvas.add_axes((0.15, 0.15, 0.65, 0.7))
        noise = np.random.default_rng(0).uniform(0, 1, (65, 60)) * np.linspace(1, 0.2, 65)[:, None]
        mesh = axes.pcolormesh(np.linspace(*x, 61), np.linspace(*y, 66), noise, cmap="magma")
        axes.set(xlim=x, ylim=y, ylabel="Frequency [Hz]", xlabel="Time (s)", title="Spectrogram 1")
        axes.grid(False)
        canvas.colorbar(mesh, cax=canvas.add_axes((0.83, 0.15, 0.03, 0.7)), format="%+2.0f dB")
        if change is not None:
            change(axes)
        jpeg = {"quality": quality} if path.suffix == ".jpg" else {}
        canvas.savefig(path, dpi=dpi, transparent=transparent, pil_kwargs=jpeg)
    return read(path)


def read(path: Path) -> tuple[Pixels, Box]:
    with open_picture(path) as image:
        pixels = load_pixels(image, path)
    return pixels, find_box(pixels, path, path.suffix == ".jpg")


def assert_limits(pixels: Pixels, box: Box, vertical: bool, limits: tuple[float, float]) -> None:
    """The limits, to one and a half pixels."""
    scale = read_axis_scale(pixels, box, vertical)
    n_pixels = box.edges[3] - box.edges[1] if vertical else box.edges[2] - box.edges[0]
    assert scale is not None
    assert (scale.low, scale.high) == pytest.approx(limits, abs=1.5 / n_pixels * abs(limits[1] - limits[0]))


def test_places_and_numbers(tmp_path):
    pixels, box = draw(tmp_path / "figure.png")
    labels = read_tick_labels(pixels, box, vertical=True)
    assert [value for _, value in labels] == [10000, 8000, 6000, 4000, 2000, 0]
    # Axes of 315 pixels, whose lower end is at 0.85 of 450.
    expected = [382.5 - value / 11025 * 315 for _, value in labels]
    np.testing.assert_allclose([place for place, _ in labels], expected, atol=0.6)
    labels = read_tick_labels(pixels, box, vertical=False)
    assert [value for _, value in labels] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    np.testing.assert_allclose([place for place, _ in labels], [90 + 130 * value for _, value in labels], atol=0.6)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((1.0, 3.0), (300.0, 3333.0)),
        ((-2.5, 2.5), (0.0, 22050.0)),
        ((0.0125, 0.0875), (-4000.0, 4000.0)),
        ((58.0, 131.0), (87.0, 99.0)),
        ((3.0, 0.0), (8000.0, 0.0)),
        ((1000.0, 1003.0), (0.0, 1.0)),
    ],
)
def test_odd_limits(tmp_path, x, y):
    pixels, box = draw(tmp_path / "figure.png", x, y)
    assert_limits(pixels, box, False, x)
    assert_limits(pixels, box, True, y)


@pytest.mark.parametrize("size", [8, 10, 14, 20])
@pytest.mark.parametrize("dpi", [100, 200])
def test_sizes(tmp_path, size, dpi):
    pixels, box = draw(tmp_path / "figure.png", change=lambda axes: axes.tick_params(labelsize=size), dpi=dpi)
    assert_limits(pixels, box, True, (0, 11025))
    assert_limits(pixels, box, False, (0, 3))


@pytest.mark.parametrize("style", ["dark_background", "ggplot", "bmh", "Solarize_Light2", "seaborn-v0_8-white"])
def test_styles(tmp_path, style):
    pixels, box = draw(tmp_path / "figure.png", style=style, dpi=120)
    assert_limits(pixels, box, True, (0, 11025))


@pytest.mark.parametrize("quality", [75, 95])
def test_jpeg(tmp_path, quality):
    pixels, box = draw(tmp_path / "figure.jpg", quality=quality)
    assert_limits(pixels, box, True, (0, 11025))
    assert_limits(pixels, box, False, (0, 3))


def test_transparent_page(tmp_path):
    pixels, box = draw(tmp_path / "figure.png", transparent=True)
    assert_limits(pixels, box, True, (0, 11025))


def formatted(write: Callable[[float], str]) -> Callable[[Axes], None]:
    return lambda axes: axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: write(value)))


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (formatted(lambda hz: f"{hz / 1000:g}k"), 1),
        (formatted(lambda hz: f"{hz / 1000:g}"), 1e-3),
        (formatted(lambda hz: f"{hz:.1f}"), 1),
        (formatted(lambda hz: f"{-hz:g}".replace("-", "\N{MINUS SIGN}")), -1),
        (lambda axes: axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0)), 1),
        (lambda axes: axes.minorticks_on(), 1),
        (lambda axes: axes.tick_params(length=0), 1),
    ],
)
def test_ways_of_writing(tmp_path, change, factor):
    pixels, box = draw(tmp_path / "figure.png", change=change)
    assert_limits(pixels, box, True, (0, 11025 * factor))


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (formatted(lambda hz: f"{hz:,.0f}"), 1),
        (formatted(lambda hz: f"{hz / 16000:g}".replace(".", ",")), 1 / 16000),
    ],
)
def test_commas_are_left_out_rather_than_wrong(tmp_path, change, factor):
    pixels, box = draw(tmp_path / "figure.png", change=change)
    if read_axis_scale(pixels, box, vertical=True) is not None:
        assert_limits(pixels, box, True, (0, 11025 * factor))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda axes: axes.yaxis.get_major_formatter().set_useOffset(1e4), "an offset beside the axis"),
        (lambda axes: axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True), "a raised 4"),
        (formatted(lambda hz: f"{hz:g} Hz"), "a unit"),
        (formatted(lambda hz: f"{hz / 1000:g} k"), "a unit"),
        (formatted(lambda hz: f"{hz:,.0f}".replace(",", " ")), "thousands apart"),
        (formatted(lambda hz: f"{hz / 8 + 1000:,.0f}"), "thousands or thousandths"),
        (formatted(lambda hz: f"{hz + 2000:,.0f}".replace(",", ".")), "thousands or thousandths"),
        (formatted(lambda hz: f"{hz / 1e7:.3f}"), "rounded away"),
        (lambda axes: axes.set_yticks([0, 5000]), "two labels"),
        (lambda axes: axes.set_yticks([0, 500, 1000]), "all of them at one end"),
        (lambda axes: axes.set_yticks([0, 4000, 8000], ["low", "middle", "high"]), "words"),
        (lambda axes: axes.set_yticks([0, 4000, 8000], ["0", "4000", "9000"]), "not linear"),
        (lambda axes: axes.set_yscale("log"), "powers of ten"),
    ],
)
def test_none_rather_than_wrong(tmp_path, change, why):
    pixels, box = draw(tmp_path / "figure.png", change=change)
    assert read_axis_scale(pixels, box, vertical=True) is None, why


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (0.65, [0, 0.15, 0.3, 0.45, 0.6]),
        # Written 0 1.5 ... 9 10 12 14.
        (14.0, [0, 1.5, 3, 4.5, 6, 7.5, 9, 10.5, 12, 13.5]),
        (100.0, [0, 15, 30, 45, 60, 75, 90]),
        (5000.0, [0, 900, 1800, 2700, 3600, 4500]),
    ],
)
def test_librosas_times(tmp_path, seconds, labels):
    def times(axes: Axes) -> None:
        axes.xaxis.set_major_formatter(librosa.display.TimeFormatter())
        axes.set_xticks(labels)

    pixels, box = draw(tmp_path / "figure.png", (0, seconds), change=times, dpi=150)
    found = find_labels(pixels, box, vertical=False)
    assert len(found) >= 0.7 * len(labels)
    assert_limits(pixels, box, False, (0, seconds))


@pytest.mark.parametrize(
    ("y_axis", "values"),
    [("log", [8192, 4096, 2048, 1024, 512, 256, 128, 64, 0]), ("mel", [8192, 4096, 2048, 1024, 512, 0])],
)
def test_librosas_axes(tmp_path, y_axis, values):
    path = tmp_path / "figure.png"
    limits: list[float] = []
    level_db = mel_levels(128) if y_axis == "mel" else levels(256)
    tutorial(path, level_db, y_axis=y_axis, size=(7, 6), change=lambda _, axes: limits.extend(axes.get_ylim()))
    pixels, box = read(path)
    labels = find_labels(pixels, box, vertical=True)
    # Some may be left out, none is read as another.
    found = [label.value for label in labels]
    assert found == [value for value in values if value in found]
    assert len(found) >= 4
    scale = fit_axis(labels, box, True, y_axis)
    assert scale is not None
    assert scale.high == pytest.approx(limits[1], rel=0.02)
    assert scale.low == pytest.approx(limits[0], abs=25)
    assert read_axis_scale(pixels, box, vertical=True) is None
    other = "log" if y_axis == "mel" else "mel"
    assert fit_axis(labels, box, True, other) is None


def test_pictures_without_labels(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(300, 400)), axis=0), axis=1)
    photo = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    dots = np.where(rng.random((300, 400)) < 0.02, 0, 255).astype(np.uint8)
    for name, array in {"noise": rng.integers(0, 256, (300, 400), np.uint8), "photo": photo, "dots": dots}.items():
        path = tmp_path / f"{name}.png"
        Image.fromarray(array).save(path)
        with open_picture(path) as image:
            pixels = load_pixels(image, path)
        for sides in ((0, 0, 400, 300), (60, 40, 390, 240)):
            for vertical in (True, False):
                assert read_tick_labels(pixels, given_box(pixels, sides, path), vertical) == []


def test_a_large_picture_takes_no_second(tmp_path):
    image = Image.new("L", (12000, 12000), 255)
    path = tmp_path / "figure.png"
    draw(path, dpi=100)
    # Labels of ten pixels beside a plot of ten thousand.
    with Image.open(path) as small:
        image.paste(small.convert("L"), (1000, 5000))
    image.paste(0, (1090, 1000, 11500, 5382))
    pixels = Pixels(image, grey=True)
    start = time.process_time()
    labels = read_tick_labels(pixels, given_box(pixels, (1090, 1000, 11500, 5382), path), vertical=False)
    assert time.process_time() - start < 3
    assert [value for _, value in labels] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
