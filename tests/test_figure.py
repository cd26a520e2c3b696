"""Figures that matplotlib and librosa drew are read: box, colours, grid, layout, axes, and what is said about them."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from drawing import RATE, Levels, errors_db, full_bleed, levels, mel_levels, tutorial
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from PIL import Image

from gan.errors import InputError
from gan.sound.codec import magnitude_from_codes
from gan.sound.figure.figure import Figure
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import peak_bytes, read_figure
from gan.sound.figure.report import write_report

# A grey step of 80 dB in 256 colours.
STEP_DB = 80 / 256
SECONDS = 99 * 64 / RATE
KNOWN = ("viridis", "magma", "inferno", "plasma", "cividis", "jet", "turbo", "coolwarm")


def finding(figure: Figure, name: str) -> tuple[str, float | None, str]:
    """Value, confidence and origin of what was found out."""
    [found] = [found for found in figure.findings if found.name == name]
    return found.value, found.confidence, found.how


def check_grid(figure: Figure, level_db: Levels, rows: str = "whole", columns: str = "whole") -> None:
    """Numbers of rows and frames, and the layout."""
    n_rows, n_frames = level_db.shape
    assert figure.relative_db.shape == level_db.shape
    assert f"{n_rows} rows of" in finding(figure, "y_axis")[2]
    assert finding(figure, "y_axis")[2].endswith(f"the outer ones {rows}")
    assert finding(figure, "frames")[0] == str(n_frames)
    assert finding(figure, "frames")[2].endswith(f"the outer ones {columns}")


def check_exact(figure: Figure, level_db: Levels, name: str = "gray") -> None:
    """Nothing is lost but the steps of the colours."""
    rms, largest, convergence = errors_db(figure.relative_db, level_db)
    # Three pairs of viridis's steps have the same colour.
    spread = 2 if name == "viridis" else 1
    assert rms < 0.1
    assert convergence < -39
    # All cells are the middle of their step, but the lowest step is the floor.
    above = level_db > -80 + STEP_DB
    assert np.abs(figure.relative_db - level_db)[above].max() <= (spread - 0.5) * STEP_DB + 1e-4
    assert largest <= spread * STEP_DB


class TestRecipe:
    """Axes that fill the picture."""

    @pytest.mark.parametrize(
        ("n_fft", "n_frames", "size"),
        [
            (256, 100, (300, 387)),
            (256, 117, (263, 300)),
            (512, 60, (190, 555)),
            (128, 200, (780, 170)),
            (256, 40, (100, 999)),
        ],
    )
    @pytest.mark.parametrize(("layout", "rows"), [("new", "whole"), ("old", "clipped")])
    def test_png_is_read_exactly(self, tmp_path, n_fft, n_frames, size, layout, rows):
        level_db = levels(n_fft, n_frames)
        full_bleed(tmp_path / "a.png", level_db, size, layout)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        check_grid(figure, level_db, rows)
        check_exact(figure, level_db)
        assert finding(figure, "box") == (f"0 0 {size[0]} {size[1]}", 1.0, "no margin")
        assert finding(figure, "n_fft") == (str(n_fft), 1.0, f"2 x ({n_fft // 2 + 1} - 1)")
        assert finding(figure, "y_axis")[:2] == ("linear", 1.0)
        assert finding(figure, "frames")[1] > 0.8
        assert finding(figure, "colormap")[0] == "gray"
        assert finding(figure, "colormap")[1] > 0.6
        assert figure.warnings == ()
        assert figure.settings.hop_length == n_fft // 4
        assert figure.layout.box == (0, 0, *size)
        assert len(figure.layout.row_edges) == n_fft // 2 + 2
        assert len(figure.layout.column_edges) == n_frames + 1

    @pytest.mark.parametrize("layout", ["new", "old"])
    @pytest.mark.parametrize(
        ("size", "quality", "rms_db"),
        [((300, 387), 100, 0.13), ((600, 774), 100, 0.09), ((300, 387), 75, 1.0), ((600, 774), 75, 0.25)],
    )
    def test_jpeg(self, tmp_path, layout, size, quality, rms_db):
        level_db = levels()
        full_bleed(tmp_path / "a.jpg", level_db, size, layout, quality=quality)
        figure = read_figure(tmp_path / "a.jpg", FigureOptions())
        check_grid(figure, level_db, "whole" if layout == "new" else "clipped")
        rms, _, convergence = errors_db(figure.relative_db, level_db)
        assert rms < rms_db
        assert convergence < (-36 if quality == 100 else -18)
        assert figure.warnings == ()

    @pytest.mark.parametrize("size", [(250, 323), (205, 387), (210, 200)])
    def test_edges_half_way_between_pixels(self, tmp_path, size):
        level_db = levels()
        full_bleed(tmp_path / "a.png", level_db, size)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        assert figure.relative_db.shape == level_db.shape
        assert errors_db(figure.relative_db, level_db)[0] < 0.6

    @pytest.mark.parametrize(("size", "quality"), [((480, 520), 50), ((960, 1040), 100), ((240, 260), 50)])
    def test_cells_that_are_jpegs_blocks(self, tmp_path, size, quality):
        level_db = levels(128, 60)
        full_bleed(tmp_path / "a.jpg", level_db, size, quality=quality)
        figure = read_figure(tmp_path / "a.jpg", FigureOptions())
        check_grid(figure, level_db)
        assert errors_db(figure.relative_db, level_db)[0] < (0.1 if quality == 100 else 0.5 if size[0] > 240 else 1)

    @pytest.mark.parametrize(("share", "size"), [(0.5, (150, 296)), (0.7, (150, 774)), (0.85, (150, 387))])
    def test_high_frequencies_are_silent(self, tmp_path, share, size):
        # As of speech that was sampled at a lower rate: most rows have no edges, and other grids fit the others.
        level_db = levels(256, 50)
        level_db[int(129 * (1 - share)) :] = -80
        for layout, rows in (("new", "whole"), ("old", "clipped")):
            full_bleed(tmp_path / "a.png", level_db, size, layout)
            figure = read_figure(tmp_path / "a.png", FigureOptions())
            check_grid(figure, level_db, rows)
            check_exact(figure, level_db)

    def test_cells_under_two_pixels_that_still_show(self, tmp_path):
        level_db = levels()
        full_bleed(tmp_path / "a.png", level_db, (180, 220))
        check_exact(read_figure(tmp_path / "a.png", FigureOptions()), level_db)

    def test_other_kinds_of_file(self, tmp_path):
        level_db = levels()
        full_bleed(tmp_path / "a.png", level_db, (300, 387))
        original = read_figure(tmp_path / "a.png", FigureOptions())
        with Image.open(tmp_path / "a.png") as image:
            image.convert("RGB").save(tmp_path / "a.tif", compression="tiff_lzw")
            image.convert("RGB").save(tmp_path / "a.bmp")
            image.convert("RGB").save(tmp_path / "a.webp", lossless=True)
            image.convert("L").save(tmp_path / "a.gif")
        for suffix in ("tif", "bmp", "webp", "gif"):
            figure = read_figure(tmp_path / f"a.{suffix}", FigureOptions())
            np.testing.assert_array_equal(figure.relative_db, original.relative_db, suffix)

    def test_range_is_an_option(self, tmp_path):
        # Nothing is 80 dB below the loudest band: black is not 80 dB down, and no picture says so.
        level_db = mel_levels(32)
        assert level_db.min() > -79
        full_bleed(tmp_path / "a.png", level_db, (240, 160), y_axis="mel")
        assert errors_db(read_figure(tmp_path / "a.png", FigureOptions()).relative_db, level_db)[0] > 0.5
        figure = read_figure(tmp_path / "a.png", FigureOptions(range_db=float(-level_db.min())))
        assert errors_db(figure.relative_db, level_db)[0] < 0.1


class TestColours:
    @pytest.mark.parametrize("name", ["gray", "gray_r", *KNOWN])
    def test_known_maps(self, tmp_path, name):
        level_db = levels()
        full_bleed(tmp_path / "a.png", level_db, (300, 387), cmap=name)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        check_grid(figure, level_db)
        value, confidence, how = finding(figure, "colormap")
        assert value == name
        assert confidence > 0.9
        if name in KNOWN:
            assert how == "colours are 0.0 of 255 away (median)"
        # Some maps have the same colour twice: jet's ends, three pairs of viridis.
        assert errors_db(figure.relative_db, level_db)[0] < (0.14 if name == "jet" else 0.095)
        assert figure.warnings == ()

    def test_librosas_choice(self, tmp_path):
        level_db = levels(128, 60)
        tutorial(tmp_path / "a.png", level_db, cmap=None)
        assert finding(read_figure(tmp_path / "a.png", FigureOptions()), "colormap")[0] == "magma"
        # Levels on both sides of 0 are drawn with another map.
        tutorial(tmp_path / "a.png", level_db + 30, cmap=None)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        assert finding(figure, "colormap")[0] == "coolwarm"
        check_exact(figure, level_db)

    @pytest.mark.parametrize(
        ("name", "quality", "rms_db"), [("viridis", 100, 0.15), ("jet", 100, 0.2), ("magma", 75, 0.5)]
    )
    def test_jpeg(self, tmp_path, name, quality, rms_db):
        level_db = levels(128, 60)
        full_bleed(tmp_path / "a.jpg", level_db, (780, 845), cmap=name, quality=quality)
        figure = read_figure(tmp_path / "a.jpg", FigureOptions())
        check_grid(figure, level_db)
        assert finding(figure, "colormap")[:2] == (name, 1.0)
        assert errors_db(figure.relative_db, level_db)[0] < rms_db

    @pytest.mark.parametrize("name", ["viridis_r", "inferno_r"])
    def test_reversed_maps(self, tmp_path, name):
        level_db = levels(128, 60)
        full_bleed(tmp_path / "a.png", level_db, (240, 260), cmap=name)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        assert finding(figure, "colormap")[0] == name
        assert errors_db(figure.relative_db, level_db)[0] < 0.095
        figure = read_figure(tmp_path / "a.png", FigureOptions(colormap=name))
        assert errors_db(figure.relative_db, level_db)[0] < 0.095
        assert finding(figure, "colormap") == (name, None, "given; colours are 0.0 of 255 away (median)")
        wrong = read_figure(tmp_path / "a.png", FigureOptions(colormap=name.removesuffix("_r")))
        assert any("its high frequencies are louder than its low ones" in warning for warning in wrong.warnings)

    def test_a_map_that_must_be_named(self, tmp_path):
        level_db = levels(128, 60)
        unknown = ListedColormap(colormaps["cubehelix"](np.linspace(0, 1, 256))[:, [1, 0, 2]])
        full_bleed(tmp_path / "a.png", level_db, (240, 260), cmap=unknown)
        with pytest.raises(InputError, match=r"no known colour map; gray is the closest .* distance of \d\d of 255"):
            read_figure(tmp_path / "a.png", FigureOptions())
        full_bleed(tmp_path / "a.png", level_db, (240, 260), cmap="cubehelix")
        for given in ("cubehelix", None):
            figure = read_figure(tmp_path / "a.png", FigureOptions(colormap=given))
            assert errors_db(figure.relative_db, level_db)[0] < 0.1
        figure = read_figure(tmp_path / "a.png", FigureOptions(colormap="viridis"))
        assert any("its colours are far from viridis" in warning for warning in figure.warnings)
        with pytest.raises(InputError, match=r"a.png: matplotlib has no colour map 'vridis'; usual are gray, viridis"):
            read_figure(tmp_path / "a.png", FigureOptions(colormap="vridis"))

    @pytest.mark.parametrize("name", ["gray", "gray_r"])
    def test_grey_can_be_named(self, tmp_path, name):
        level_db = levels(128, 60)
        full_bleed(tmp_path / "a.png", level_db, (240, 260), cmap=name)
        figure = read_figure(tmp_path / "a.png", FigureOptions(colormap=name))
        check_exact(figure, level_db)
        assert finding(figure, "colormap") == (name, None, "given; grey")
        other = "gray" if name == "gray_r" else "gray_r"
        wrong = read_figure(tmp_path / "a.png", FigureOptions(colormap=other))
        assert wrong.relative_db.mean() == pytest.approx(-80 - level_db.mean(), abs=0.2)
        with pytest.raises(InputError, match="the picture is grey, not viridis; leave --colormap out"):
            read_figure(tmp_path / "a.png", FigureOptions(colormap="viridis"))

    @pytest.mark.parametrize("name", ["gray", "gray_r"])
    def test_greys_beside_something_in_colour(self, tmp_path, name):
        level_db = levels(128, 60)

        def add_waveform(figure, axes):
            axes.set_position((0.15, 0.1, 0.7, 0.5))
            figure.add_axes((0.15, 0.7, 0.7, 0.2)).fill_between(np.arange(100), np.sin(np.arange(100)))

        tutorial(tmp_path / "a.png", level_db, (5, 7), cmap=name, bar=False, change=add_waveform)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        assert finding(figure, "colormap")[0] == name
        check_exact(figure, level_db)

    @pytest.mark.parametrize("name", ["magma", "inferno"])
    def test_mostly_silence(self, tmp_path, name):
        # Magma and inferno begin with the same colours.
        level_db = levels(128, 120)
        level_db[40:] = -80
        level_db[:, 30:80] = -80
        full_bleed(tmp_path / "a.png", level_db, (360, 260), cmap=name)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        assert finding(figure, "colormap")[0] == name
        assert finding(figure, "colormap")[1] > 0.5
        check_exact(figure, level_db)

    def test_loud_end_of_grey_that_cannot_be_told(self, tmp_path):
        rng = np.random.default_rng(0)
        full_bleed(tmp_path / "a.png", rng.uniform(-80, 0, (65, 60)), (240, 260))
        with pytest.raises(
            InputError, match=r"a.png: whether black or white is loud cannot be told; give --colormap gray"
        ):
            read_figure(tmp_path / "a.png", FigureOptions())
        assert read_figure(tmp_path / "a.png", FigureOptions(colormap="gray")).relative_db.shape == (65, 60)


def half_frame(figure, axes):
    axes.spines[["top", "right"]].set_visible(False)


def no_frame(figure, axes):
    axes.spines[:].set_visible(False)


def waveform_above(figure, axes):
    axes.set(position=(0.15, 0.1, 0.7, 0.5), title="")
    figure.add_axes((0.15, 0.7, 0.7, 0.2)).plot(np.sin(np.arange(300) / 7))


class TestFigureWithAxes:
    @pytest.mark.parametrize(
        ("name", "drawn", "how"),
        [
            ("a.png", {}, "a frame of 1 px"),
            ("a.jpg", {}, "a frame of 1 px"),
            ("a.jpg", {"cmap": "gray", "quality": 75}, "a frame of 1 px"),
            ("a.png", {"cmap": "gray_r", "tight": False}, "a frame of 1 px"),
            ("a.png", {"layout": "old", "cmap": "magma"}, "a frame of 1 px"),
            ("a.png", {"dpi": 150, "cmap": "gray"}, "a frame of 2 px"),
            ("a.png", {"dpi": 300, "size": (3, 3)}, "a frame of 3 px"),
            ("a.png", {"style": "dark_background", "cmap": "magma"}, "a frame of 1 px"),
            ("a.jpg", {"style": "dark_background", "cmap": "gray"}, "a frame of 1 px"),
            ("a.png", {"style": "seaborn-v0_8-white"}, "a frame of 2 px"),
            ("a.png", {"style": "ggplot", "cmap": "magma"}, "the margin's end, no frame"),
            ("a.png", {"style": "Solarize_Light2"}, "the margin's end, no frame"),
            ("a.png", {"change": half_frame, "cmap": "gray"}, "a frame of 1 px on two sides"),
            ("a.png", {"change": no_frame, "bar": False}, "the margin's end, no frame"),
            ("a.png", {"change": waveform_above, "size": (5, 7), "bar": False}, "a frame of 1 px"),
            ("a.png", {"change": lambda figure, _: figure.patch.set_alpha(0)}, "a frame of 1 px"),
            (
                "a.png",
                {"change": lambda figure, _: figure.patch.set_facecolor("0.5"), "cmap": "gray"},
                "a frame of 1 px",
            ),
        ],
        ids=lambda value: (
            None if isinstance(value, str) else "-".join(getattr(v, "__name__", str(v)) for v in value.values())
        ),
    )
    def test_box_and_cells(self, tmp_path, name, drawn, how):
        level_db = levels(128, 60)
        axes = tutorial(tmp_path / name, level_db, **drawn)
        figure = read_figure(tmp_path / name, FigureOptions())
        check_grid(figure, level_db, "clipped" if "layout" in drawn else "whole")
        assert finding(figure, "box")[2] == how
        assert finding(figure, "box")[1] == (0.8 if "two" in how else 0.95 if "frame of" in how else 0.7)
        # Inside of the frame, and no more than a pixel is missing.
        left, top, right, bottom = np.array(figure.layout.box) - axes
        inner = 2.2 if "dpi" not in drawn else 3.6
        assert -0.6 < left < inner
        assert -0.6 < top < inner
        assert -inner < right < 1.3
        assert -inner < bottom < 1.3
        # The grid's ends are the axes' own, to a third of a pixel.
        rows, columns = figure.layout.row_edges, figure.layout.column_edges
        np.testing.assert_allclose([columns[0], rows[-1], columns[-1], rows[0]], axes, atol=0.34)
        assert figure.warnings == ()
        if "layout" in drawn:
            # The frame lies on half of the lowest row, which is half a row high.
            check_exact(dataclasses.replace(figure, relative_db=figure.relative_db[1:-1]), level_db[1:-1])
        elif name == "a.png":
            check_exact(figure, level_db, drawn.get("cmap", "viridis"))
        else:
            assert errors_db(figure.relative_db, level_db)[0] < 0.4

    @pytest.mark.parametrize(("name", "quality"), [("viridis", 75), ("jet", 100), ("plasma", 75)])
    def test_colours_of_small_cells_in_jpeg(self, tmp_path, name, quality):
        level_db = levels(256, 100)
        tutorial(tmp_path / "a.jpg", level_db, (8, 7), cmap=name, quality=quality)
        figure = read_figure(tmp_path / "a.jpg", FigureOptions())
        check_grid(figure, level_db)
        assert errors_db(figure.relative_db, level_db)[0] < (0.6 if quality == 100 else 1.2)

    @pytest.mark.parametrize(
        "drawn", [{"cmap": "gray"}, {"cmap": "magma"}, {"cmap": "gray", "style": "dark_background"}]
    )
    @pytest.mark.parametrize("change", [None, no_frame])
    def test_silence_all_around_is_no_frame(self, tmp_path, drawn, change):
        if change is not None and "style" in drawn:
            pytest.skip("black on black")
        level_db = np.pad(levels(128, 60)[:50], ((0, 15), (10, 10)), constant_values=-80)
        level_db[0] = -80
        tutorial(tmp_path / "a.png", level_db, change=change, **drawn)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        assert figure.relative_db.shape == level_db.shape
        check_exact(figure, level_db)

    @pytest.mark.parametrize(("share", "height"), [(0.5, 7.4), (0.7, 3.8)])
    def test_high_frequencies_are_silent(self, tmp_path, share, height):
        level_db = levels(256, 50)
        level_db[int(129 * (1 - share)) :] = -80
        tutorial(tmp_path / "a.png", level_db, (4, height), cmap="gray", bar=False)
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        check_grid(figure, level_db)
        assert errors_db(figure.relative_db, level_db)[0] < 0.3

    def test_islands_of_sound_in_white_silence(self, tmp_path):
        level_db = np.full((65, 90), -80.0)
        sound = levels(128, 60)
        level_db[5:40, 5:35], level_db[20:60, 45:85] = sound[:35, :30], sound[:40, 20:60]
        tutorial(tmp_path / "a.png", level_db, cmap="gray_r")
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        check_grid(figure, level_db)
        check_exact(figure, level_db)

    def test_two_spectrograms(self, tmp_path):
        level_db = levels(128, 60)

        def add(figure, axes):
            axes.set_position((0.1, 0.1, 0.35, 0.8))
            figure.add_axes((0.6, 0.1, 0.35, 0.8)).pcolormesh(level_db, cmap="viridis")

        left, *_ = tutorial(tmp_path / "a.png", level_db, (8, 4), bar=False, change=add)
        with pytest.raises(
            InputError, match=r"2 axes of about the same size were found in it; say which with --box: "
        ) as caught:
            read_figure(tmp_path / "a.png", FigureOptions())
        boxes = [tuple(map(int, box.split())) for box in str(caught.value).split("--box: ")[1].split(" or ")]
        box = min(boxes)
        assert box[0] == pytest.approx(left, abs=2)
        figure = read_figure(tmp_path / "a.png", FigureOptions(box=box))
        assert figure.relative_db.shape == level_db.shape
        assert errors_db(figure.relative_db, level_db)[0] < 0.3

    def test_given_box(self, tmp_path):
        level_db = levels(128, 60)
        tutorial(tmp_path / "a.png", level_db)
        found = read_figure(tmp_path / "a.png", FigureOptions())
        given = read_figure(tmp_path / "a.png", FigureOptions(box=found.layout.box))
        np.testing.assert_array_equal(given.relative_db, found.relative_db)
        assert finding(given, "box") == (" ".join(map(str, found.layout.box)), None, "given")
        with pytest.raises(InputError, match=r"a.png: box \(0, 0, 9999, 100\) reaches out of its \d+ x \d+ pixels"):
            read_figure(tmp_path / "a.png", FigureOptions(box=(0, 0, 9999, 100)))
        with pytest.raises(InputError, match=r"the spectrogram seems to be 10 x 100 pixels, too few; give --box"):
            read_figure(tmp_path / "a.png", FigureOptions(box=(100, 100, 110, 200)))

    def test_lowest_frequencies_only(self, tmp_path):
        level_db = levels(256, 60)
        tutorial(tmp_path / "a.png", level_db, change=lambda _, axes: axes.set_ylim(0, RATE / 4))
        figure = read_figure(tmp_path / "a.png", FigureOptions(n_fft=256))
        assert figure.warnings == ("shows 65 of 129 frequencies; those above are taken for silent",)
        assert figure.relative_db.shape == (129, 60)
        assert (figure.relative_db[65:] == -80).all()
        assert errors_db(figure.relative_db[:65], level_db[:65])[0] < 0.1
        assert finding(figure, "n_fft") == ("256", None, "given")


class TestAxes:
    @pytest.mark.parametrize("height", [400, 800])
    def test_log(self, tmp_path, height):
        level_db = levels()
        full_bleed(tmp_path / "a.png", level_db, (300, height), y_axis="log")
        figure = read_figure(tmp_path / "a.png", FigureOptions())
        check_grid(figure, level_db)
        assert finding(figure, "y_axis")[:2] == ("log", 1.0)
        if height == 800:
            check_exact(figure, level_db)
        else:
            assert figure.warnings == (
                "15.5% of the cells are too thin to have a pixel; filled in from their neighbours",
            )
            # The rows that are seen are exact, the others are between their neighbours.
            seen = np.diff(np.floor(figure.layout.row_edges + 0.5)) != 0
            assert errors_db(figure.relative_db[seen], level_db[seen])[0] < 0.1
            assert errors_db(figure.relative_db, level_db)[0] < 1.5

    @pytest.mark.parametrize(
        ("n_mels", "name", "drawn"),
        [
            (40, "a.png", None),
            (64, "a.png", {"cmap": "gray"}),
            (128, "a.png", None),
            (128, "a.png", {"cmap": "viridis"}),
            (64, "a.jpg", {"cmap": "magma"}),
        ],
    )
    def test_mel(self, tmp_path, n_mels, name, drawn):
        level_db = mel_levels(n_mels)
        if drawn is None:
            full_bleed(tmp_path / name, level_db, (240, 5 * n_mels), y_axis="mel")
        else:
            tutorial(tmp_path / name, level_db, (6, n_mels / 14), y_axis="mel", **drawn)
        figure = read_figure(tmp_path / name, FigureOptions(n_fft=1024))
        assert figure.relative_db.shape == level_db.shape
        assert finding(figure, "y_axis")[0] == "mel"
        assert finding(figure, "y_axis")[1] > 0.9
        assert finding(figure, "n_fft") == ("1024", None, "given")
        assert (figure.mel.n_mels, figure.mel.min_hz, figure.mel.max_hz) == (n_mels, 0, RATE / 2)
        assert errors_db(figure.relative_db, level_db)[0] < (0.1 if name == "a.png" else 0.5)
        assert figure.magnitude().shape == (513, 60)
        codes, _ = figure.codes()
        assert codes.shape == (513, 60)

    def test_mel_read_as_linear_is_warned_of(self, tmp_path):
        full_bleed(tmp_path / "a.png", mel_levels(64), (240, 320), y_axis="mel")
        said = "its rows look like a mel axis (64 rows) and not like the linear one that was given"
        with pytest.raises(InputError, match=re.escape(f"{said}; leave --y_axis out, or give --n_fft")):
            read_figure(tmp_path / "a.png", FigureOptions(y_axis="linear"))
        assert read_figure(tmp_path / "a.png", FigureOptions(y_axis="linear", n_fft=256)).warnings[0] == said

    def test_linear_read_as_mel_is_warned_of(self, tmp_path):
        full_bleed(tmp_path / "a.png", levels(), (300, 387))
        figure = read_figure(tmp_path / "a.png", FigureOptions(y_axis="mel", n_fft=256))
        assert figure.warnings == (
            "its rows look like a linear axis (129 rows) and not like the mel one that was given",
        )

    def test_mel_bands_as_equal_rows(self, tmp_path):
        level_db = mel_levels(64)
        full_bleed(tmp_path / "a.png", level_db, (240, 256), y_axis="linear")
        with pytest.raises(
            InputError, match=r"its 64 equal rows look like mel bands; say --y_axis mel, or --n_fft 126 if"
        ):
            read_figure(tmp_path / "a.png", FigureOptions())
        figure = read_figure(tmp_path / "a.png", FigureOptions(y_axis="mel"))
        check_exact(figure, level_db)
        assert figure.mel.n_mels == 64
        # No mel picture shows the transform, on which the length hangs.
        assert figure.warnings == (
            "its length, 1.37 s, is a guess: the picture shows neither n_fft nor hop_length; give --seconds, or "
            "--n_fft and --hop_length",
        )
        assert read_figure(tmp_path / "a.png", FigureOptions(y_axis="mel", n_fft=1024)).warnings == ()
        assert read_figure(tmp_path / "a.png", FigureOptions(n_fft=126)).mel is None


class TestWhatCannotBeSeen:
    @pytest.fixture
    def thin(self, tmp_path) -> tuple[Path, Levels]:
        """Cells of 0.7 px."""
        level_db = levels()
        full_bleed(tmp_path / "thin.png", level_db, (70, 90))
        return tmp_path / "thin.png", level_db

    def test_thin_cells_are_asked_for(self, thin):
        with pytest.raises(
            InputError, match=r"nothing in it repeats .* greys are anybody's; .* say so with --n_fft and --sec"
        ):
            read_figure(thin[0], FigureOptions())

    def test_thin_cells_with_options(self, thin):
        path, level_db = thin
        figure = read_figure(path, FigureOptions(n_fft=256, seconds=SECONDS))
        assert figure.relative_db.shape == level_db.shape
        assert errors_db(figure.relative_db, level_db)[0] < 5
        assert finding(figure, "n_fft") == ("256", None, "given; rows of 0.70 px cannot be counted")
        assert finding(figure, "frames") == ("100", None, "given; columns of 0.70 px cannot be counted")
        assert figure.warnings == ("58.1% of the cells are too thin to have a pixel; filled in from their neighbours",)

    def test_thin_columns_within_margins(self, tmp_path):
        tutorial(tmp_path / "a.png", levels(128, 400), (3, 4), cmap="gray")
        with pytest.raises(InputError, match=r"a.png: its columns are too thin to be counted; give .* with --seconds"):
            read_figure(tmp_path / "a.png", FigureOptions())
        figure = read_figure(tmp_path / "a.png", FigureOptions(seconds=399 * 32 / RATE))
        assert figure.relative_db.shape == (65, 400)

    def test_more_columns_than_a_picture_can_show(self, thin):
        # 60 s, the length of the recipe's pictures, would be 295 columns to a pixel.
        with pytest.raises(InputError, match="--seconds"):
            read_figure(thin[0], FigureOptions(n_fft=256))

    def test_thin_rows_within_margins(self, tmp_path):
        level_db = levels(512, 50)
        tutorial(tmp_path / "a.png", level_db, (6, 3), cmap="gray")
        figure = read_figure(tmp_path / "a.png", FigureOptions(n_fft=512))
        assert figure.relative_db.shape == (257, 50)
        assert "too thin to have a pixel" in figure.warnings[-1]
        assert not any("silent" in warning for warning in figure.warnings)

    def test_mel_bands_too_thin_to_count(self, tmp_path):
        full_bleed(tmp_path / "a.png", mel_levels(128), (250, 90), y_axis="mel")
        with pytest.raises(InputError, match=r"its mel bands are too thin to be counted; give --n_mels, e.g. 128"):
            read_figure(tmp_path / "a.png", FigureOptions(y_axis="mel"))
        assert read_figure(tmp_path / "a.png", FigureOptions(y_axis="mel", n_mels=128)).relative_db.shape[0] == 128

    def test_an_unlikely_number_of_rows(self, tmp_path):
        full_bleed(tmp_path / "a.png", levels(256, 60)[:94], (240, 376))
        with pytest.raises(
            InputError, match=r"94 rows were counted, .* n_fft of 186 and is unlikely; give --n_fft .* --box"
        ):
            read_figure(tmp_path / "a.png", FigureOptions())
        # What is given wins, and what speaks against it is said.
        figure = read_figure(tmp_path / "a.png", FigureOptions(n_fft=128))
        assert figure.relative_db.shape == (65, 60)
        assert (
            figure.warnings[0]
            == "its rows look like the 94 of n_fft 186 and not like the 65 of n_fft 128, which was given"
        )
        assert read_figure(tmp_path / "a.png", FigureOptions(n_fft=186)).relative_db.shape == (94, 60)

    def test_seconds_that_contradict_the_columns(self, tmp_path):
        full_bleed(tmp_path / "a.png", levels(), (300, 387))
        assert read_figure(tmp_path / "a.png", FigureOptions(seconds=SECONDS)).warnings == ()
        figure = read_figure(tmp_path / "a.png", FigureOptions(seconds=60))
        assert figure.warnings == (
            "shows 100 columns, but 60 s at hop_length 64 and sample_rate 22050 are 20672; one of the three is wrong",
        )
        assert figure.relative_db.shape == (129, 100)

    def test_low_frequencies_at_the_top(self, tmp_path):
        level_db = levels()
        full_bleed(tmp_path / "a.png", level_db[::-1], (300, 387), cmap="viridis")
        [warning] = read_figure(tmp_path / "a.png", FigureOptions()).warnings
        assert "--upside_down true" in warning
        figure = read_figure(tmp_path / "a.png", FigureOptions(upside_down=True))
        assert errors_db(figure.relative_db, level_db)[0] < 0.095
        assert figure.warnings == ()
        assert finding(figure, "upside_down") == ("yes", None, "given")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_fft": 0}, "n_fft is 0; it must be above 0"),
            ({"seconds": -1.0}, "seconds is -1.0; it must be above 0"),
            ({"seconds": float("nan")}, "seconds is nan; it must be above 0"),
            ({"range_db": 0.5}, r"range_db is 0.5; it must lie in \[1, 300\], 80 is usual"),
            ({"box": (5, 5, 5, 9)}, r"box is \(5, 5, 5, 9\); it must be left, top, right, bottom in pixels"),
        ],
    )
    def test_options_that_make_no_sense(self, options, message):
        with pytest.raises(InputError, match=message):
            FigureOptions(**options)


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> tuple[Figure, Levels]:
    """A tutorial's figure and what was drawn."""
    path = tmp_path_factory.mktemp("figure") / "a.png"
    level_db = levels(256, 80)
    tutorial(path, level_db, (5, 6))
    return read_figure(path, FigureOptions()), level_db


class TestFigure:
    def test_codes(self, read):
        figure, level_db = read
        codes, white_db = figure.codes()
        assert codes.dtype == np.uint8
        assert (codes.min(), codes.max()) == (0, 255)
        decoded = 20 * np.log10(magnitude_from_codes(codes, white_db, figure.settings).numpy()) - figure.white_db
        assert np.abs(decoded - figure.relative_db).max() <= 0.5 * STEP_DB + 1e-4
        # Two steps of viridis are one colour now and then.
        assert errors_db(decoded, level_db)[0] < 0.11

    def test_level_is_by_convention(self, read):
        figure, _ = read
        assert figure.level_db is None
        # A steady tone of -12 dBFS peaks at half the sum of a Hann window.
        assert figure.white_db == pytest.approx(-12 + 20 * np.log10(256 / 4))
        loudest = 10 ** ((figure.white_db + figure.relative_db.max()) / 20)
        assert float(figure.magnitude().max()) == pytest.approx(loudest, rel=1e-5)

    def test_as_options_reads_a_smaller_picture_of_the_same_kind(self, tmp_path):
        level_db = levels(256, 80)
        full_bleed(tmp_path / "large.png", level_db, (400, 516), cmap="gray_r")
        options = read_figure(tmp_path / "large.png", FigureOptions()).as_options(FigureOptions(range_db=80.0))
        assert (options.n_fft, options.y_axis, options.colormap, options.n_mels) == (256, "linear", "gray_r", None)
        assert options.seconds == pytest.approx(79 * 64 / RATE)
        full_bleed(
            tmp_path / "silence.png",
            np.pad(np.zeros((1, 1)), ((5, 123), (5, 74)), constant_values=-80),
            (400, 516),
            cmap="gray_r",
        )
        figure = read_figure(tmp_path / "silence.png", options)
        assert figure.relative_db.shape == (129, 80)
        assert np.argwhere(figure.relative_db > -1).tolist() == [[5, 5]]

    def test_table(self, read):
        figure, _ = read
        lines = figure.table().splitlines()
        assert lines[0].split() == ["found", "value", "confidence", "how"]
        assert len(lines) == 1 + len(figure.findings)
        [row] = [line for line in lines if line.startswith("n_fft")]
        assert row.split()[:2] == ["n_fft", "256"]
        assert row.endswith("2 x (129 - 1)")
        names = [found.name for found in figure.findings]
        for name in (
            "picture",
            "box",
            "y_axis",
            "n_fft",
            "frames",
            "colormap",
            "sample_rate",
            "hop_length",
            "range_db",
        ):
            assert name in names

    def test_report(self, read, tmp_path):
        write_report(read[0], tmp_path / "sub" / "report.png")
        with Image.open(tmp_path / "sub" / "report.png") as page:
            assert page.format == "PNG"
            assert page.size == (1600, 1000)
            pixels = np.asarray(page.convert("RGB")).astype(int)
        # The box in red, the edges of the cells in blue.
        assert ((pixels[..., 0] > 240) & (pixels[..., 1:] < 20).all(axis=-1)).sum() > 500
        assert ((pixels[..., 0] < 20) & (pixels[..., 1:] > 220).all(axis=-1)).sum() > 500
        assert [path.name for path in (tmp_path / "sub").iterdir()] == ["report.png"]

    def test_report_that_cannot_be_written(self, read, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=r"report.png: cannot be written"):
            write_report(read[0], tmp_path / "file" / "report.png")

    def test_peak_bytes(self, read, tmp_path):
        figure, _ = read
        with Image.open(figure.path) as image:
            n_pixels = image.width * image.height
        assert 4 * n_pixels < peak_bytes(figure.path) < 5 * n_pixels + 100_000_000
