"""Figures whose colours are no dB, maps that few use, and pictures of other transforms."""

import librosa
import numpy as np
import pytest
from drawing import full_bleed, levels, waveform

from gan.errors import InputError
from gan.sound.figure.colormap import _colormap, identify
from gan.sound.figure.levels import log_odds_of_linear
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import read_figure

SIZE = (300, 387)


def magnitude() -> np.ndarray:
    return np.abs(librosa.stft(waveform(99 * 64), n_fft=256, hop_length=64))


def found(figure, name):
    return next(finding for finding in figure.findings if finding.name == name)


class TestLinear:
    @pytest.mark.parametrize("cmap", ["gray", "gray_r", "viridis", "magma"])
    @pytest.mark.parametrize(("values", "power", "shown_db"), [("magnitude", 1, 48), ("power", 2, 24)])
    def test_what_is_given_is_read(self, tmp_path, cmap, values, power, shown_db):
        drawn = magnitude() ** power
        full_bleed(tmp_path / "a.png", drawn, SIZE, cmap=cmap)
        # Most of gray_r is white as a page is.
        known = FigureOptions(n_fft=256, seconds=99 * 64 / 22050, values=values, box=(0, 0, *SIZE))
        figure = read_figure(tmp_path / "a.png", known)
        assert found(figure, "colormap").value == cmap
        assert found(figure, "values").how == f"given; 256 colours show {shown_db} dB of it"
        # A step of 256 is a tenth of what is 28 dB (14 dB of power) below the loudest, and half of that is lost.
        level_db = librosa.amplitude_to_db(magnitude(), ref=np.max)
        loud = level_db > -shown_db / 2
        assert np.abs(figure.relative_db - level_db)[loud].max() < (0.9 if power == 1 else 0.6)
        assert figure.relative_db.min() == pytest.approx(-80)

    @pytest.mark.parametrize("cmap", ["gray", "viridis"])
    @pytest.mark.parametrize("power", [1, 2])
    def test_what_is_not_given_is_asked_for(self, tmp_path, cmap, power):
        full_bleed(tmp_path / "a.png", magnitude() ** power, SIZE, cmap=cmap)
        with pytest.raises(
            InputError, match=r"a.png: its colours are unlikely to show dB \(.*; give --values magnitude or power if"
        ):
            read_figure(tmp_path / "a.png", FigureOptions(n_fft=256, seconds=99 * 64 / 22050))

    def test_db_is_not_taken_for_it(self):
        for seed in range(5):
            for n_fft in (128, 512):
                assert log_odds_of_linear((levels(n_fft, seed=seed) / 80 + 1).astype(np.float32))[0] < 0


@pytest.mark.parametrize("name", ["hot", "cubehelix", "Blues", "Spectral", "nipy_spectral", "bone"])
def test_maps_that_few_use(tmp_path, name):
    level_db = levels()
    full_bleed(tmp_path / "a.png", level_db, SIZE, cmap=name)
    figure = read_figure(tmp_path / "a.png", FigureOptions())
    assert found(figure, "colormap").value == name
    assert np.abs(figure.relative_db - level_db).max() < 1


@pytest.mark.parametrize(
    ("n_rows", "name"), [(12, "a chromagram"), (13, "MFCCs"), (20, "MFCCs"), (84, "a constant-Q transform")]
)
def test_other_transforms_are_refused_as_what_they_are(tmp_path, n_rows, name):
    np.save(tmp_path / "a.npy", levels()[:n_rows])
    full_bleed(tmp_path / "a.png", levels()[:n_rows], (300, 6 * n_rows), cmap="viridis")
    for path in ("a.npy", "a.png"):
        for n_fft in (None, 2048):
            with pytest.raises(
                InputError, match=f"its {n_rows} equal rows look like {name}, which cannot be made soun"
            ):
                read_figure(tmp_path / path, FigureOptions(n_fft=n_fft))
    assert read_figure(tmp_path / "a.npy", FigureOptions(y_axis="mel")).mel.n_mels == n_rows


def test_a_distance_a_hair_above_the_limit_reads_so(tmp_path):
    # 4.5 in blue and the nearest colours of viridis in between: a median of 4.15.
    colours = _colormap("viridis").colours[40:200] + np.float32([0, 0, 4.5])
    with pytest.raises(InputError, match=r"viridis is the closest with a median distance of 4.2 of 255 \(at most 4 is"):
        identify(colours, None, tmp_path)
    assert identify(colours - np.float32([0, 0, 0.5]), None, tmp_path).name == "viridis"
